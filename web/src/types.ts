// The shapes of the API. Types only: the code is in the JavaScript files beside this one, checked against these.

/** Where bytes come from: themselves, or a place they are read from. In Node a string without a scheme is a path. */
export type Source = string | URL | Uint8Array | ArrayBuffer | Blob;

/** What the console is shown on. xterm.js's `Terminal` is one. */
export interface Terminal {
  readonly rows: number;
  readonly cols: number;
  /** Shows bytes; calls `done` once it did. Until then only so much more follows. */
  write(data: Uint8Array, done: () => void): void;
  onData(listener: (text: string) => void): Disposable;
  onBinary?(listener: (text: string) => void): Disposable;
  onResize?(listener: (size: Size) => void): Disposable;
}

/** Something that can be ended. */
export interface Disposable {
  dispose(): void;
}

/** Rows and columns of a terminal. */
export interface Size {
  rows: number;
  cols: number;
}

/** How far a start has come. */
export interface Progress {
  /** What is going on now: loading the kernel, a disk's first contents or the image, or starting the system. */
  stage: "kernel" | "disk" | "image" | "system";
  /** Bytes loaded. */
  loaded: number;
  /** Bytes there are, if the server said so. */
  total?: number;
}

/** A machine that does not answer. */
export interface Hang {
  /** For how long it has not, in milliseconds. */
  milliseconds: number;
  /** Instructions its programs had retired when it last answered. */
  instructions: number;
}

/** What a machine is shown on and heard by, started or restored. */
export interface Surroundings {
  /** The console: a terminal for init's shell. */
  terminal?: Terminal;
  /** Hears each line that appears on the console: the kernel's log, and what programs print there. */
  onLog?: (line: string) => void;
  /** Hears how far the start has come. */
  onProgress?: (progress: Progress) => void;
  /** Hears of a machine that stopped answering, and with `null` that it answers again. */
  onHang?: (hang: Hang | null) => void;
  /** Hears why something on a disk could not be read: a chunk of a published image that did not come, or is another. */
  onDiskError?: (message: string) => void;
  /** Where the kernel is, if not beside this module. */
  kernel?: Source | WebAssembly.Module;
  /**
   * Whether a small program runs in a second machine, unseen, while this one has nothing to do yet. Engines compile what is
   * called, when it is called: what somebody starts first then need not wait for that. Takes about a second of one
   * processor. Default: true.
   */
  rehearse?: boolean;
}

/** A disk, and what it holds when it is new. */
export interface DiskOptions {
  /**
   * In Node the path of an image file; in a browser the disk's name in the storage of this origin, or with the store
   * `"server"` a URL.
   */
  name: string;
  /** What a disk that is not there yet starts with: an image, plain or gzip, or in a browser another disk's snapshot. */
  image?: Source | { disk: string; snapshot: string };
  /** What a disk that is not there yet begins as, in place of an image: it is fetched as it is touched. */
  base?: Published;
  /** Bytes of a disk that is not there yet; at least as many as the image has. */
  size?: number;
  /** Writes fail. */
  readOnly?: boolean;
  /** In a browser: goes back to this snapshot of the disk first. */
  snapshot?: string;
  /** Makes the disk anew even if it is there; the old one stays until the new one is whole. */
  replace?: boolean;
  /** The only place to keep it. Without, the best there is: see `Disk.store` of `Aurora.disks`. In Node, files and memory. */
  store?: DiskStore;
  /** In a browser, when another machine has it: fail with EBUSY, or `"take"` it away: that machine turns itself off. */
  busy?: "take";
}

/** An image that `aurora image publish` made, on any server of files. */
export interface Published {
  /** The folder it is in: ends in `/`. */
  url: string | URL;
  /** The publisher's key, in hexadecimal: nothing else is believed. */
  key: string;
}

/** A disk a machine has. */
export interface DiskStatus {
  name: string;
  size: number;
  readOnly: boolean;
  /** Where its bytes are. What is in `"memory"` is lost with the machine. */
  store: DiskStore;
}

/** Where a disk's bytes are, the best first in a browser: a file of its private file system, IndexedDB, the Cache API. */
export type DiskStore = "file" | "opfs" | "indexeddb" | "cache" | "memory" | "server";

/** What to start. */
export interface BootOptions extends Surroundings {
  /**
   * The root file system: a cpio archive (newc, plain or gzip). `aurora image build` makes one. Without it, the first
   * disk is.
   */
  image?: Source;
  /** Disks, `/dev/vda` and on. A string is a disk's name. */
  disks?: (string | DiskOptions)[];
  /** MiB of memory, 256 unless given. */
  memory?: number;
  /** The first program, on the console; none with `false`. Default: `/sbin/init` if there is a terminal, else none. */
  init?: string | false;
  /** More words for the kernel's command line, `trace=syscalls` for example. */
  commandLine?: string;
}

/** Where a machine goes on from a snapshot. */
export interface RestoreOptions extends Surroundings {
  /** Its disks, as they were when the snapshot was made. */
  disks?: (string | DiskOptions)[];
}

/** How to start a program. */
export interface SpawnOptions {
  /** Environment on top of PATH, HOME, USER, LOGNAME and, with a terminal, TERM. */
  env?: Record<string, string>;
  /** Working directory, `/` unless given. */
  cwd?: string;
  /** Gives the program a terminal, of this size or of 24 by 80. Its output is then all in `stdout`. */
  tty?: boolean | Size;
}

/** How a program ended: by itself with a code, or by a signal. */
export interface ExitStatus {
  code: number | null;
  signal: string | null;
}

/** How a machine ended. */
export interface Ending {
  /** It was turned off, asks to be started anew, gave its disk to another machine, panicked, or could not go on. */
  kind: "off" | "restart" | "taken" | "panic" | "failed";
  /** What there is to say. */
  message: string;
  /** Where in the kernel's source, after a panic. */
  place?: string;
}

/** What a file is. */
export type FileKind = "file" | "directory" | "link" | "fifo" | "socket" | "character device" | "block device";

/** A name in a directory. */
export interface DirectoryEntry {
  name: string;
  kind: FileKind;
}

/**
 * What happened to what is watched: a name is there, by whatever way it came, or no longer; its contents or attributes are
 * others; or too much happened at once, and some of it is `lost`.
 */
export type WatchKind = "created" | "changed" | "removed" | "lost";

/** Something that happened to what is watched. */
export interface WatchEvent {
  kind: WatchKind;
  /** In which name of a directory; empty if it is what is watched itself. */
  name: string;
}

/** What stat(2) tells. */
export interface Stats {
  kind: FileKind;
  size: number;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  inode: number;
  links: number;
  accessed: Date;
  modified: Date;
  changed: Date;
}

/** A look inside. */
export interface Statistics {
  /** Instructions the machine's programs have retired. */
  instructions: number;
  /** Bytes of memory the machine takes of its host. */
  memory: number;
  /** Bytes of console output the terminal has not shown yet. */
  unshown: number;
  /** Bytes of console input the machine has not taken yet. */
  untaken: number;
  /** Whether what it rehearses is done. */
  rehearsed: boolean;
}

/** What a platform (a browser, Node) gives: a worker to keep the machine in, and where files are. */
export interface Platform {
  /** Starts the worker; `failed` hears why it ended if nobody ended it. */
  startWorker(receive: (message: any) => void, failed: (reason: string) => void): WorkerHandle;
  /** Where the kernel is. */
  kernel: URL;
  /** Where the archive is that is rehearsed with. */
  rehearsal: URL;
  /** Tells when nobody may be looking for long, or ever again: what is dirty should be saved. */
  onHidden?(act: () => void): Disposable;
  /** Asks that what is stored is not dropped when room is short. */
  persist?(): Promise<unknown>;
  /** The disk a name means to the worker. */
  locateDisk(name: string): string;
  /** The place a string or URL means, as the worker reads it. */
  locate(place: string | URL): string;
}

/** A started worker. */
export interface WorkerHandle {
  post(message: object, transfer?: ArrayBuffer[]): void;
  stop(): void;
}

/** An open disk. What takes time gives promises, anything else is done when it returns. */
export interface Disk {
  /** Bytes. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly takesTime: boolean;
  readonly store: DiskStore;
  /** Of a disk that takes time only now and then: whether it is done with a transfer when it returns. */
  answersNow?(reads: boolean, offset: number, length: number): boolean;
  /** Fills `bytes` from `offset` on. */
  read(offset: number, bytes: Uint8Array<ArrayBuffer>): void | Promise<void>;
  /** Writes `bytes` from `offset` on. */
  write(offset: number, bytes: Uint8Array<ArrayBuffer>): void | Promise<void>;
  /** Makes what was written last. */
  flush(): void | Promise<void>;
  close(): void | Promise<void>;
  /** Its snapshots, if its store can have any. */
  readonly snapshots?: DiskSnapshots;
  /** Fetches what of it is not there yet. */
  complete?(): Promise<void>;
}

/** A disk as it was once. */
export interface DiskSnapshot {
  name: string;
  made: Date;
  /** Bytes. */
  size: number;
}

/** What an open disk does about its snapshots. */
export interface DiskSnapshots {
  /** The newest first. */
  list(): DiskSnapshot[];
  /** In place of one of this name; of the moment at which `at` is called. */
  make(name: string, at?: () => void): Promise<void>;
  remove(name: string): Promise<void>;
  /** Fills `bytes` from `offset` on. */
  read(name: string, offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** What who has a disk is asked about its snapshots. */
export type SnapshotCall =
  | { act: "list" }
  | { act: "find" | "make" | "remove"; snapshot: string }
  | { act: "read"; snapshot: string; offset: number; length: number };

/** Who has a disk, asked by those who have not. */
export interface DiskHolder {
  /** It has it for a moment: who wants it waits. */
  isBrief?: boolean;
  giveUp(): void;
  snapshots(name: string, call: SnapshotCall): Promise<unknown>;
}

/** What a platform gives the worker's side. */
export interface WorkerPort {
  /** Opens a disk; `image` opens what it starts with. */
  openDisk(
    options: DiskOptions,
    image: (() => Promise<ReadableStream<Uint8Array>>) | undefined,
    holder: DiskHolder,
  ): Promise<Disk>;
  post(message: object, transfer?: ArrayBuffer[]): void;
  listen(receive: (message: any) => void): void;
  /** Reads what `Platform.locate` gave. */
  fetch(place: string, init?: RequestInit): Promise<Response>;
  /** Reads a snapshot of a disk that somebody has. */
  readSnapshot?(disk: string, snapshot: string): Promise<ReadableStream<Uint8Array>>;
}
