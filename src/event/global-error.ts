import { get, lsbOf, type Field } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { InterruptSender } from './interrupts.js';

const { GERROR, IRQ_CTRL } = Register;
const gerror = wordOf(Register.GERROR);
const gerrorn = wordOf(Register.GERRORN);

/** GERROR and GERRORN: an error is active while its two bits differ (IHI 0070, section 6.3.19). */
export class GlobalErrors {
  private readonly frame: Uint32Array;
  private readonly sender: InterruptSender;

  constructor(frame: Uint32Array, sender: InterruptSender) {
    this.frame = frame;
    this.sender = sender;
  }

  /** Whether the error of GERROR bit `field` waits for its acknowledgement. */
  isActive(field: Field): boolean {
    return get(this.frame, gerror, field) !== get(this.frame, gerrorn, field);
  }

  /** Activates the error, if it is not active already, and raises the interrupt. */
  activate(field: Field): void {
    if (this.isActive(field)) return;
    this.frame[gerror] = this.frame[gerror]! ^ (1 << lsbOf(field));
    if (field === GERROR.fields.MSI_GERROR_ABT_ERR) return;
    if (get(this.frame, wordOf(IRQ_CTRL), IRQ_CTRL.fields.GERROR_IRQEN) === 0) return;
    if (!this.sender.raise('gerror')) this.activate(GERROR.fields.MSI_GERROR_ABT_ERR);
  }
}
