/**
 * Four devices that translate: the same loop four times, since a library is not called from one place
 * only. Each returns the sum of the addresses that it got.
 */
export const devices = [
  (handle, iovas) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handle.translate(iovas[i], 0);
    return sum;
  },
  (handle, iovas) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handle.translate(iovas[i], 0);
    return sum;
  },
  (handle, iovas) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handle.translate(iovas[i], 0);
    return sum;
  },
  (handle, iovas) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handle.translate(iovas[i], 0);
    return sum;
  },
];

/** As {@link devices}, each address through its own handle. */
export const fleet = [
  (handles, iovas) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handles[i].translate(iovas[i], 0);
    return sum;
  },
  (handles, iovas) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handles[i].translate(iovas[i], 0);
    return sum;
  },
  (handles, iovas) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handles[i].translate(iovas[i], 0);
    return sum;
  },
  (handles, iovas) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handles[i].translate(iovas[i], 0);
    return sum;
  },
];

/** As {@link devices}, with reads of `bytes.length` bytes. Each returns how many were read. */
export const readers = [
  (handle, iovas, bytes) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handle.read(iovas[i], bytes);
    return sum;
  },
  (handle, iovas, bytes) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handle.read(iovas[i], bytes);
    return sum;
  },
  (handle, iovas, bytes) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handle.read(iovas[i], bytes);
    return sum;
  },
  (handle, iovas, bytes) => {
    let sum = 0;
    for (let i = 0; i < iovas.length; i++) sum += handle.read(iovas[i], bytes);
    return sum;
  },
];
