// Package dedup is the duplicate window of an embedded broker: which message ids were
// stored within the last minutes, and at which sequence.
//
//	answer to a publish ───────────────▶ Window.Put ┐
//	stored without an answer: holes ──▶ Filler.Run ─┼─▶ Window ──▶ Window.Find: a duplicate?
//	the store's files at a start ─▶ Filler.Backfill ┘
//
// Two parts know the duplicates of an embedded broker:
//
//	the broker itself    what it stored within its own, short window
//	[Window]             what was stored within the duplicate window
//
// An id enters the window when the answer to its publish is read, moments after it
// was stored. If no answer is read, since the publish was given up or the
// connection broke, a [Filler] finds such sequences in the stream and reads their
// ids, within two rounds, long before the broker drops them. So at any time one of
// the two knows an id, and neither has to keep a million of them at the broker's
// price. The broker of package jetstream makes both, its publisher asks the window.
package dedup
