"""What the playground alone needs: an audience that is nobody's."""

from typing import Final

NOBODY: Final = "nobody-service"
"""Where the playground is on, the gateway may ask for carnets for it. No service takes that name,
so nobody takes such a carnet."""
