import { Cerror } from '../arch/command.js';
import { Errno, IommufdError } from '../iommufd/iommufd-error.js';
import { InvalidationError } from './backend.js';

/** The Linux error number of what a backend threw; -1 for what is no {@link IommufdError}. */
export function errnoOf(error: unknown): number {
  return error instanceof IommufdError ? error.errno : -1;
}

/** A call that was refused: what the backend threw, or rejected with. */
export class Refusal {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/** How many commands the kernel says it has handled. */
export function handledOf(error: unknown): number {
  if (!(error instanceof InvalidationError)) return 0;
  return error.handled > 0 ? Math.floor(error.handled) : 0;
}

/**
 * The CMDQ_CONS.ERR that a refusal comes to: EIO means that a command, or a vSTE, is none that the
 * kernel takes (CERROR_ILL: a guest gives it up); anything else may go better another time
 * (CERROR_ABT: a guest tries it again).
 */
export function cerrorOf(error: unknown): number {
  return errnoOf(error) === Errno.EIO ? Cerror.ILL : Cerror.ABT;
}
