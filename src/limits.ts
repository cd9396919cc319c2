// Every limit and timeout by name, with its unit and the reason for it.

const MIB = 1024 * 1024

/** Bytes of a leaf: what the profile unixfs-v1-2025 (IPIP-0499) fixes. */
export const CHUNK_SIZE_BYTES: number = MIB

/** Bytes of a block taken from the network or a CAR: what the trustless gateway specification asks clients to cap. */
export const MAX_NETWORK_BLOCK_BYTES: number = 2 * MIB

/** Bytes of digest in an identity CID: Helia and Kubo refuse more. */
export const MAX_IDENTITY_DIGEST_BYTES = 128

/** Characters of a CID as a string: four times what the longest one needs that is taken, so that little more is still told what is wrong with it. */
export const MAX_CID_CHARACTERS = 1024

/** Levels of a DAG. A 1024-wide balanced DAG of 1 MiB leaves reaches a petabyte at three. Trickle DAGs are deeper. */
export const MAX_DAG_DEPTH = 128

/** Bytes of content below one root: what a number counts exactly, far more than there is. */
export const MAX_CONTENT_BYTES: number = Number.MAX_SAFE_INTEGER

/** Bytes of one array: no browser has larger ones, so that nothing is read for one. Many have none as large. */
export const MAX_ARRAY_BYTES: number = 8192 * MIB

/**
 * Bytes of one array made for what a file merely says, and how many times what was read of it a further one may be. Who lies gets no room for it; who
 * tells the truth is copied less than a third more.
 */
export const MAX_UNPROVEN_BYTES: number = 256 * MIB
export const UNPROVEN_FACTOR = 4

/** Bytes of a Blob: more than any browser keeps. A few blocks may stand for any number of bytes, which a Blob would read one by one. */
export const MAX_BLOB_BYTES: number = 2 ** 40

/** Links of one node: eight times the widest profile, so that foreign layouts are read. */
export const MAX_LINKS_PER_NODE = 8192

/** Names in one directory, all shards together. Listing holds them in memory. */
export const MAX_DIRECTORY_ENTRIES = 1_000_000

/** Segments of a path and bytes of one name: what file systems commonly allow. */
export const MAX_PATH_SEGMENTS = 256
export const MAX_NAME_BYTES = 255

/** Bytes and blocks of one write transaction: measured, larger ones gain little and cost memory. */
export const WRITE_BATCH_BYTES: number = 16 * MIB
export const WRITE_BATCH_BLOCKS = 2048

/** Bytes of one window of a reading into one array, and blocks of one read transaction. */
export const READ_WINDOW_BYTES: number = 16 * MIB
export const READ_WINDOW_BLOCKS = 64

/**
 * The same for a stream, whose consumer keeps what it is given: measured, each MiB on its way costs two of memory at the peak, and larger windows
 * gain no speed.
 */
export const STREAM_WINDOW_BYTES: number = 4 * MIB

/**
 * Bytes or blocks from which a file's leaves, or small files stored together, go into packs: below, the records of one transaction are as fast and need
 * no file.
 */
export const PACK_MIN_BYTES: number = 4 * MIB
export const PACK_MIN_BLOCKS = 512

/** Bytes and blocks of one pack at most: a larger file has several, so that rewriting one never copies much, and points few blocks anew at once. */
export const PACK_MAX_BYTES: number = 256 * MIB
export const PACK_MAX_BLOCKS = 8192

/** Bytes of leaves that are looked up and written to a pack together. */
export const PACK_BATCH_BYTES: number = 4 * MIB

/** Bytes of batches on their way into a pack, behind the one that is filled. */
export const PACK_BATCHES_IN_FLIGHT = 2

/** Buffers of runs that a reader keeps for another use: as many as two windows take. */
export const POOLED_RUNS = 8

/** Chunks that are kept for small ranges to be read into: as many as are commonly asked for at once. They stay while the page does. */
export const POOLED_RANGES = 2

/** Buffers of chunks that are kept for another use: as many as are under way at once. */
export const POOLED_CHUNKS = 16

/** Bytes after which a pack is pushed to the disk while it is written, so that sealing it has little left to wait for. */
export const PACK_FLUSH_BYTES: number = 64 * MIB

/** Bytes of one read from a pack: neighbours up to this are read together. */
export const PACK_RUN_BYTES: number = 4 * MIB

/** Workers that read, write and hash packs, and read records. */
export const PACK_LANES = 2

/**
 * Records asked for at once from which a worker reads them: the windows of a reading into one array, and not those of a stream, where measured it is no
 * faster and takes 60 MiB more at the peak of 1 GiB.
 */
export const RECORDS_READ_BESIDE = 8

/** Milliseconds that a pack worker may take to start. */
export const PACK_WORKER_TIMEOUT_MS = 5_000

/** Milliseconds that a pack stays open after a read: the next one finds it so. */
export const PACK_LINGER_MS = 1_000

/** Milliseconds between two tries to remove packs that somebody has open still. */
export const PACK_RETRY_MS = 100

/** Milliseconds that removing a pack waits for readers to let go of it; after that it is left to the next sweep. */
export const PACK_RELEASE_TIMEOUT_MS = 3_000

/** Milliseconds between a copy of records into a pack and their deletion: nobody's look into packs and then into records takes as long. */
export const MOVE_GRACE_MS = 2_000

/** Blocks hashed at once: crypto.subtle saturates two cores with this many. */
export const HASHES_IN_FLIGHT = 8

/** Blocks asked of the network at once. */
export const FETCHES_IN_FLIGHT = 8

/** Blocks that one step of a removal looks at under the exclusive lock, so that writers wait for milliseconds only. */
export const REMOVAL_STEP_BLOCKS = 512

/** Keys of a store of marks up to which all of them are read at each look-up. */
export const MARKS_READ_WHOLE = 32

/**
 * Keys asked for at once from which all keys of a store are read, where those are no more than so many times as many: measured, reading one takes a
 * twentieth of looking it up.
 */
export const KEYS_READ_MIN = 64
export const KEYS_READ_FACTOR = 4

/** Milliseconds that starting Helia may take before the fallback is settled on. */
export const START_TIMEOUT_MS = 10_000

/** Milliseconds until the first block of something that is not here. */
export const RETRIEVE_TIMEOUT_MS = 20_000

/**
 * Tries to write where there is no room, content being given up between them; and milliseconds that the second of each two waits for the browser to
 * free it, more each time.
 */
export const ROOM_TRIES = 16
export const ROOM_WAIT_MS = 50

/** Times that a writer finds that another one was making room, and tries again, before that counts as a try of its own. */
export const ROOM_TURNS = 100

/** Bytes laid by in the catalog, given up so that a full disk allows a deletion. */
export const RESERVE_BYTES: number = 256 * 1024

/**
 * Bytes written so that Chromium begins a new log: it does at 4 MiB, less on small disks. In rows of so many, since what is larger is compressed or goes
 * into files beside the log.
 */
export const LOG_RENEWAL_BYTES: number = 4.5 * MIB
export const LOG_RENEWAL_ROW_BYTES = 60_000

/** Blocks whose bytes are in memory at once while leaves are checked, fetched or measured. */
export const LEAF_WINDOW_BLOCKS = 16

/** Milliseconds that opening or deleting a database waits for another tab. */
export const DATABASE_BLOCKED_TIMEOUT_MS = 5_000

/** Milliseconds that opening a database may take where nobody says it is blocked. A slow disk may need seconds. */
export const DATABASE_OPEN_TIMEOUT_MS = 20_000

/** Tries to open databases that the browser can't open and says not why; and milliseconds before the second, each further wait twice as long. */
export const DATABASE_OPEN_TRIES = 6
export const DATABASE_RETRY_MS = 50

/** Milliseconds after its last use when Helia's session ends and what it alone owns is freed. */
export const SESSION_EXPIRY_MS: number = 24 * 60 * 60 * 1000

/**
 * Bytes of a download after which what has come is put on record, so that a crash costs no more than this a connection; one pack each, where there are
 * packs, since what is not sealed and indexed is lost.
 */
export const DOWNLOAD_CHECKPOINT_BYTES: number = 16 * MIB

/** Requests of one download under way at once at most, unless the caller says how many, and at most then: browsers make six to a host. */
export const DOWNLOAD_CONNECTIONS = 4
export const MAX_DOWNLOAD_CONNECTIONS = 16

/** Bytes in a second of waiting for a server from which on more connections are not made; milliseconds after which that is known, and looked at again. */
export const DOWNLOAD_ENOUGH_BYTES_PER_SECOND: number = 96 * MIB
export const DOWNLOAD_PACE_MS = 100

/** Bytes asked for by one request at most, so that no connection is left with much while others have nothing to do. */
export const DOWNLOAD_REQUEST_BYTES: number = 128 * MIB

/** Milliseconds without a byte after which a request is given up and made again from where it was. */
export const DOWNLOAD_STALL_MS = 15_000

/** Requests in a row that bring nothing before a download is interrupted; milliseconds before the second at most, twice as many each time, and at most. */
export const DOWNLOAD_TRIES = 8
export const DOWNLOAD_RETRY_MS = 250
export const DOWNLOAD_RETRY_MAX_MS = 30_000

/** Milliseconds that a server may ask to be left alone for; where it asks for more, the caller is told. */
export const DOWNLOAD_RETRY_AFTER_MAX_MS = 120_000

/** Bytes of a content up to which its SHA-256 is made where the storage runs, though that be a page; and milliseconds that a worker may take to start. */
export const HASHED_BESIDE_BYTES: number = 16 * MIB
export const HASH_WORKER_TIMEOUT_MS = 5_000

/** Milliseconds after its last checkpoint when a download that nobody went on with ends, and its space comes back. */
export const DOWNLOAD_EXPIRY_MS: number = 7 * 24 * 60 * 60 * 1000

/** Milliseconds that cancelling a download waits for the tab that works on it. */
export const DOWNLOAD_CANCEL_TIMEOUT_MS = 5_000

/** Milliseconds that last uses are gathered before they are written. */
export const LAST_USED_FLUSH_MS = 5_000

/** Bytes of one piece of a source or stream on its way to or from a worker. */
export const PORT_CHUNK_BYTES: number = 4 * MIB

/** Pieces of one such stream under way at once: one is worked on while the next comes. */
export const PORT_WINDOW_CHUNKS = 2

/** File layouts kept in memory. One of a 1 GiB file takes about 100 kB. */
export const LAYOUT_CACHE_ENTRIES = 64

/** Places of blocks in packs kept in memory: those of 16 GiB of chunks, about 4 MB. */
export const PLACES_CACHED = 16_384

/** Files in packs of which is kept in memory where they lie as a whole: some hundred bytes each. */
export const FILES_PLACED_CACHED = 256

/**
 * Blocks whose places are one row of the catalog. Measured: 10,000 blocks take 0.1 s in rows of this many and 1.5 s in rows of one; larger rows gain
 * little and make taking one block out of its row slower.
 */
export const PLACES_A_ROW = 128

/**
 * Blocks that one row of references names: about 40 kB. Chromium keeps a value from 64 KiB on in a file of its own, which a power cut can take while
 * the row stays, and then nothing that reads the row works.
 */
export const LINKS_A_ROW = 512

/** Entries of small files stored together that are one row of the catalog, for the same reason: 10,000 of them take 0.15 s for 1.5 s. */
export const ENTRIES_A_ROW = 128

/** Characters of names in one such row, for the same reason as LINKS_A_ROW. */
export const NAMES_A_ROW_CHARACTERS = 8_192

/** Milliseconds that a Helia node may take to stop before it is left behind. */
export const STOP_TIMEOUT_MS = 5_000

/** Milliseconds of silence after which another gateway is asked beside one, at most; else a quarter of the time until the first block. */
export const MAX_SILENCE_MS = 3_000

/** Gateways that delivered and are asked first. More would only be asked where all of these fail. */
export const RELIABLE_GATEWAYS = 4

/** Milliseconds that a storage may take to open for a request: a page that waits longer is taken for broken. */
export const STORAGE_OPEN_TIMEOUT_MS = 10_000

/** Bytes of an answer up to which a service worker reads it before it answers: a stream takes longer to begin than these to read. */
export const SERVED_AT_ONCE_BYTES: number = MIB

/**
 * The same of what lies in packs up to which all of it is verified before it is answered: measured, the browser reads it by itself in half the time that
 * bytes take through the worker, hashing included. Whoever reads more waits less for its beginning.
 */
export const VERIFIED_AHEAD_BYTES: number = 32 * MIB
/** Its leaves, which a foreign chunker may have made small. */
export const VERIFIED_AHEAD_LEAVES = 1024

/** Files of which a service worker remembers while it is awake what it verified. */
export const REMEMBERED_FILES = 1024

/** Names that a directory's page lists: more take a browser long to show. */
export const LISTED_NAMES = 10_000

/** Milliseconds for which answers out of the URL cache are gathered before they are counted on record. */
export const HITS_FLUSH_MS = 5_000

/** Milliseconds that a server may take to say whether it has something newer than what is kept, which is answered then, or the Hub what a file is. */
export const URL_ASK_TIMEOUT_MS = 10_000

/** Milliseconds for which nobody reads on a body that is to be kept before the store waits for it no more: whoever does later has it to himself. */
export const URL_UNREAD_MS = 60_000
