// Splits a sentence into the pieces the model knows: SentencePiece's unigram model (https://arxiv.org/abs/1804.10959), whose best
// segmentation is the path of highest summed score, found with Viterbi's algorithm.

/** Piece and log probability, in the order of their ids, as vocab.json has them. */
export type Vocabulary = readonly (readonly [piece: string, score: number])[]

/** SentencePiece writes a space as U+2581, and puts one in front of every sentence. */
const SPACE = '\u2581'
const UNKNOWN_ID = 0
/** The first ids are control symbols that never stand in text. */
const CONTROL_SYMBOLS = 6
/** What an unknown character costs beyond the least likely piece, as in SentencePiece: taken only where nothing else fits. */
const UNKNOWN_PENALTY = 10

interface Arrival {
  score: number
  id: number
  from: number
}

export class Tokenizer {
  #pieces = new Map<string, { id: number; score: number }>()
  #longest = 1
  #unknownScore = 0

  constructor(vocabulary: Vocabulary) {
    for (const [id, [piece, score]] of vocabulary.entries()) {
      if (id < CONTROL_SYMBOLS) continue
      this.#pieces.set(piece, { id, score })
      this.#longest = Math.max(this.#longest, [...piece].length)
      this.#unknownScore = Math.min(this.#unknownScore, score - UNKNOWN_PENALTY)
    }
  }

  /** Ids of the pieces in order; neighbouring unknown characters are one unknown. */
  encode(sentence: string): number[] {
    const normal = sentence.normalize('NFKC').trim().replace(/\s+/g, ' ')
    if (normal === '') return []
    const symbols = [...(SPACE + normal.replaceAll(' ', SPACE))]
    const best: (Arrival | undefined)[] = Array.from({ length: symbols.length + 1 })
    best[0] = { score: 0, id: UNKNOWN_ID, from: 0 }
    for (let from = 0; from < symbols.length; from++) this.#extend(symbols, from, best)

    const ids: number[] = []
    for (let at = symbols.length; at > 0; at = best[at]!.from) {
      const { id } = best[at]!
      if (id !== UNKNOWN_ID || ids.at(-1) !== UNKNOWN_ID) ids.push(id)
    }
    return ids.reverse()
  }

  /** Tries every piece that begins at `from`, and the single unknown character. Every position is reached, so `best[from]` is set. */
  #extend(symbols: string[], from: number, best: (Arrival | undefined)[]): void {
    const sofar = best[from]!.score
    const offer = (to: number, id: number, score: number): void => {
      if (score > (best[to]?.score ?? -Infinity)) best[to] = { score, id, from }
    }
    offer(from + 1, UNKNOWN_ID, sofar + this.#unknownScore)
    let piece = ''
    for (let to = from + 1; to <= Math.min(symbols.length, from + this.#longest); to++) {
      piece += symbols[to - 1]
      const known = this.#pieces.get(piece)
      if (known) offer(to, known.id, sofar + known.score)
    }
  }
}
