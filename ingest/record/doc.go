// Package record bounds and writes what is recorded of requests: single ones, redacted, of
// which an operator may accept one later, and aggregates of all others. Requests come in
// from the intake, which calls it; batches of records go out to a [Store].
//
//	refused, observed ─▶ place? ─ yes ─▶ redacted request ─▶ queue ──▶ Store
//	                        │ no                                        ▲
//	accepted, duplicate ────┴──────────────▶ aggregate ── each minute ──┘
//
// Refused requests of which a record is kept are those that an operator may want to
// accept later. Many more may be nothing but noise, and it can't be known which are
// which. So the places of one courier are shared:
//
//	by class   what has a valid signature, what comes from an address at which its courier
//	           is known, and all the rest each have a rate of their own
//	by key     within a class, by address and by kind of refusal: those that have had records
//	           of late leave some for others
//
// A kind is the code and the reason of a refusal, whether the body can be read as an
// event, and a few bits of the body's hash: a thousand copies of a request are no more
// worth than one of them.
package record
