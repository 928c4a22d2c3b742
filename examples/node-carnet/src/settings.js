// Settings, from the environment.

export function setting(name, otherwise) {
  const value = process.env[name] || otherwise;
  if (value === undefined) {
    process.stderr.write(`${name} is not set; see the README\n`);
    process.exit(2);
  }
  return value;
}

/** One line of JSON for whoever watches. Never a token, a key or a password. */
export function say(what, about = {}) {
  process.stdout.write(`${JSON.stringify({ what, ...about })}\n`);
}
