package ops

import "github.com/fincart/courier-gateway/ingest/event"

// MaxNoteBytes bounds an operator's note.
const MaxNoteBytes = 2000

// DeadLetterPage is one page of a listing, in the store's order.
type DeadLetterPage struct {
	DeadLetters []DeadLetterRow `json:"deadLetters"`
	Next        string          `json:"next,omitempty"` // pass as after for the next page; empty on the last
}

// Rows makes the page a [Page].
func (p DeadLetterPage) Rows() ([]DeadLetterRow, string) { return p.DeadLetters, p.Next }

// DeadLetterRow is a dead letter as listings have it: without its body and
// headers, which can be large.
type DeadLetterRow struct {
	event.DeadLetter
	// Body and Headers hide those of the letter and stay empty.
	Body    *struct{} `json:"body,omitempty"`
	Headers *struct{} `json:"headers,omitempty"`
}

// Note is the body of a review.
type Note struct {
	Note string `json:"note,omitempty"`
}
