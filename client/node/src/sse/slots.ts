/** Limits are the limits of open streams. */
export interface Limits {
  readonly user: number;
  readonly address: number;
  readonly all: number;
}

/** Slot is one open stream. */
export interface Slot {
  readonly user: string;
  /** Empty: unknown, without a limit. */
  readonly address: string;
  /** A lower number is an older slot. */
  readonly number: number;
  /** Is called when a newer stream has displaced this one. */
  readonly displace: () => void;
}

/** Slots are the open streams, by user, by address and in all. */
export class Slots {
  readonly #limits: Limits;
  /** Of each user, the oldest first. */
  readonly #users = new Map<string, Slot[]>();
  readonly #addresses = new Map<string, number>();
  #all = 0;
  /** Slots so far; numbers them. */
  #taken = 0;

  /** Makes slots without an open stream. */
  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** How many streams are open. */
  get size(): number {
    return this.#all;
  }

  /**
   * Returns a slot for a new stream. At a limit it displaces an older stream: at the user's own limit the user's oldest one, at the
   * limit of the address or of all the oldest one of the user with the most streams there. So a person with many cookies cannot shut
   * other users out.
   *
   * The oldest stream is the most likely to be dead: a phone that changes its network leaves a stream open, and the server does not
   * notice.
   */
  take(user: string, address: string, displace: () => void): Slot {
    const [oldest] = this.#users.get(user) ?? [];
    if (oldest !== undefined && (this.#users.get(user)?.length ?? 0) >= this.#limits.user) this.#displace(oldest);
    if (address !== "" && (this.#addresses.get(address) ?? 0) >= this.#limits.address) {
      this.#displace(this.#most(user, (slot) => slot.address === address));
    }
    if (this.#all >= this.#limits.all) this.#displace(this.#most(user, () => true));
    const slot: Slot = { user, address, number: ++this.#taken, displace };
    this.#users.set(user, [...(this.#users.get(user) ?? []), slot]);
    this.#addresses.set(address, (this.#addresses.get(address) ?? 0) + 1);
    this.#all++;
    return slot;
  }

  /** Frees a slot. It does nothing for a slot that was freed or displaced. */
  leave(slot: Slot): void {
    const open = this.#users.get(slot.user) ?? [];
    if (!open.includes(slot)) return;
    if (open.length === 1) this.#users.delete(slot.user);
    else
      this.#users.set(
        slot.user,
        open.filter((each) => each !== slot),
      );
    const rest = (this.#addresses.get(slot.address) ?? 0) - 1;
    if (rest === 0) this.#addresses.delete(slot.address);
    else this.#addresses.set(slot.address, rest);
    this.#all--;
  }

  #displace(slot: Slot | undefined): void {
    if (slot === undefined) return;
    this.leave(slot);
    slot.displace();
  }

  /**
   * Returns the oldest slot of the user with the most slots, among those for which counts returns true. If several users have equally
   * many, it returns the oldest slot of all. The new stream of the newcomer counts too: it must not displace the stream of a user that
   * has fewer.
   */
  #most(newcomer: string, counts: (slot: Slot) => boolean): Slot | undefined {
    let found: Slot | undefined;
    let greatest = 0;
    for (const [user, open] of this.#users) {
      const counted = open.filter(counts);
      const [oldest] = counted;
      const n = counted.length + (user === newcomer ? 1 : 0);
      if (oldest === undefined || n < greatest) continue;
      if (found === undefined || n > greatest || oldest.number < found.number) [found, greatest] = [oldest, n];
    }
    return found;
  }
}
