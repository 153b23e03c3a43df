/** Something real that Testudo does not do yet: it stops the domain with a sentence, it never gives a wrong answer. */
export class Unimplemented extends Error {
  constructor(what: string) {
    super(`not implemented: ${what}`);
  }
}
