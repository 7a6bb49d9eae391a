// Package integrity notices events that the queue has lost, and keeps the list of them.
//
// Nothing removes an event from the stream before it is verified, so of everything above
// the verified sequence
//
//	a sequence that the stream does not have     is missing: it was deleted, or its
//	                                             block is gone ([Checker.Start], [Checker.Update])
//	one that it has and can't read               is missing: the reconciler finds it
//	                                             where it reads ([Runs.Read])
//	one at or below Position.Highest and above   is missing: the stream was cut
//	the stream's last, or of a stream made since ([Checker.Start])
//	one that is acknowledged a second time       the first event is missing
//	                                             ([Receipts.Next])
//
// What is missing goes on the list of losses ([Record]), durably, before a new event can
// get its sequence. The reconciler then looks it up in the ledger: what has its outcome
// there leaves the list again, the rest is lost.
//
//	acknowledged sequences ─▶ Receipts ─┐
//	position on disk ─▶ Record ─────────┼─▶ Checker ─▶ list of losses ─▶ reconciler
//	the stream's state ─────────────────┘
//
// An embedded stream that was cut goes on above the highest sequence that it had
// acknowledged, so that no sequence ever names two events. On an external broker others
// may publish at any time, so its sequences are used again.
//
// The broker of the queue calls it.
package integrity
