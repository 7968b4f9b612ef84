//! What `cargo xtask web` says to the tests: where the page, the programs and the folders are.

/** The value of an environment variable that the tests cannot do without. */
export function named(variable) {
  const value = process.env[variable];
  if (!value) {
    throw new Error(`${variable} is not set: run the browser tests with \`cargo xtask web\``);
  }
  return value;
}
