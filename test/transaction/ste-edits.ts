import type { Edit } from './machine.js';

// Fields of an STE, by word and bits, with the value that a test gives them.
export const config = (value: number): Edit => [0, 3, 1, value];
export const s1Fmt = (value: number): Edit => [0, 5, 4, value];
export const pointer = (value: bigint): Edit => [0, 55, 6, value >> 6n];
export const s1CdMax = (value: number): Edit => [0, 63, 59, value];
export const s1StallD: Edit = [1, 27, 27, 1];
export const eats = (value: number): Edit => [1, 29, 28, value];
export const strw = (value: number): Edit => [1, 31, 30, value];
export const vmid = (value: number): Edit => [2, 15, 0, value];
export const t0sz = (value: number): Edit => [2, 37, 32, value];
export const sl0 = (value: number): Edit => [2, 39, 38, value];
export const s2tg = (value: number): Edit => [2, 47, 46, value];
export const s2ps = (value: number): Edit => [2, 50, 48, value];
export const lpae: Edit = [2, 51, 51, 0];
export const s2s: Edit = [2, 57, 57, 1];
export const s2ds: Edit = [3, 3, 3, 1];
export const s2ttb = (value: bigint): Edit => [3, 51, 4, value >> 4n];
export const vmsPtr = (value: bigint): Edit => [5, 55, 12, value >> 12n];
