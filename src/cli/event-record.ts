import { Event, EventID, type EventName } from '../arch/event.js';
import { get } from '../arch/field.js';
import { Register, wordOf } from '../arch/registers.js';
import type { Capture } from '../fixtures/capture.js';
import { fieldsOf } from '../print.js';
import { writeEvent } from '../transaction/fault.js';
import type { Translation } from '../transaction/translation.js';
import { hexDoublewords } from './output.js';

const names = new Map<number, EventName>(
  (Object.keys(Event) as EventName[]).map((name) => [Event[name].id, name]),
);

/** Name of an event by its number. */
export function eventName(id: number): string {
  return names.get(id) ?? `event 0x${id.toString(16)}`;
}

/** The record of a fault, as it would stand in the event queue. */
export interface EventRecord {
  /** Four doublewords. */
  readonly words: readonly string[];
  /** `name=value`, of the fields that this event has. */
  readonly fields: readonly string[];
}

/** The event record of `fault`, which must have an event. */
export function recordOf(fault: Translation, capture: Capture): EventRecord {
  const words = new Uint32Array(8);
  writeEvent(words, 0, fault, capture.features.OAS);
  const name = names.get(get(words, 0, EventID))!;
  return { words: hexDoublewords(words), fields: fieldsOf(words, 0, Event[name].fields) };
}

/** Why the SMMU does not record `fault`; `undefined` when it does. */
export function whyNotRecorded(fault: Translation, capture: Capture): string | undefined {
  const { CR0 } = Register;
  if (fault.event === 0) return 'this kind of abort has no event';
  if (!fault.recorded) {
    return fault.event === Event.C_BAD_STREAMID.id ? 'CR2.RECINVSID=0' : 'CD.R=0';
  }
  if (get(capture.frame, wordOf(CR0), CR0.fields.EVENTQEN) === 0) return 'CR0.EVENTQEN=0';
  return undefined;
}
