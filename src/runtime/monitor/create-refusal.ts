import { AppError } from "../../lib/errors.ts";

/**
 * The runtime's program has refused to create a container and has said why: the command or the working directory of the
 * container is not there, a mount cannot be made. To try again would change nothing.
 */
export class CreateRefusal extends AppError {
  constructor(message: string) {
    super(message, { kind: "failed-precondition" });
  }
}
