"""What every page has: elements, the session, tokens read claim by claim, and the look of it all.

Served beside a page's own files, which supply `api.js`: where that page's service answers.
"""
