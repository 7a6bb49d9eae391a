package load

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/fincart/courier-gateway/bench/proof"
	"github.com/fincart/courier-gateway/ingest/event"
)

// hit is one request with what became of it.
type hit struct {
	n     uint64 // its number in the plan
	kind  kind
	event uint64
	// at is when it was due, counted from the start of the load. Took runs from
	// there to the end of the answer: when the load falls behind its schedule, the
	// wait counts.
	at, took  time.Duration
	status    int
	out, in   int  // bytes of the request and of the answer's body
	duplicate bool // the answer says that the event was known
	unsent    bool
	err       error // why there is no answer that counts
}

// acknowledged reports whether the appliance took the event.
func (h *hit) acknowledged() bool { return h.err == nil && h.status >= 200 && h.status < 300 }

// expected reports whether a request of this kind had to be answered so.
func (h *hit) expected() bool {
	if h.kind.valid() {
		return h.acknowledged()
	}
	return h.err == nil && h.status == refusals[h.kind].status
}

// refusal is how an invalid request has to be answered.
type refusal struct {
	status int
	code   event.Code
}

var refusals = [kinds]refusal{
	tampered: {http.StatusUnauthorized, event.InvalidSignature},
	badBody:  {http.StatusBadRequest, event.InvalidPayload},
	stale:    {http.StatusUnauthorized, event.InvalidSignature},
}

// recorder adds up hits. It is safe for concurrent use. What it keeps is bounded
// but for one bit, twice, for each event.
type recorder struct {
	url    string
	within time.Duration // an acknowledgement that takes longer comes too late
	encode vegeta.Encoder

	mu      sync.Mutex
	started time.Time
	ended   time.Duration // of the last answer
	kinds   [kinds]kindCount
	answers map[answerKey]uint64
	metrics vegeta.Metrics // of valid requests
	acks    histogram      // of acknowledged ones
	inTime  uint64         // acknowledged within the bound
	news    uint64         // acknowledged as not known before
	series  series
	acked   proof.Set // events that were acknowledged
	unsure  proof.Set // events that were sent, and the answer was no acknowledgement
	encoded error
}

// kindCount counts requests of one kind.
type kindCount struct{ sent, answered, expected uint64 }

// answerKey is what one kind of request was answered with.
type answerKey struct {
	kind   kind
	status int
	err    string
}

func newRecorder(url string, within time.Duration) *recorder {
	return &recorder{url: url, within: within, answers: map[answerKey]uint64{}}
}

// begin sets the start of the load.
func (r *recorder) begin(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = at
}

// elapsed returns the time since the start, 0 before it.
func (r *recorder) elapsed() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started.IsZero() {
		return 0
	}
	return time.Since(r.started)
}

// add counts a hit.
func (r *recorder) add(h hit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = max(r.ended, h.at+h.took)
	count := &r.kinds[h.kind]
	count.sent++
	if h.status > 0 {
		count.answered++
	}
	if h.expected() {
		count.expected++
	}
	key := answerKey{kind: h.kind, status: h.status}
	if h.err != nil {
		key.err = h.err.Error()
	}
	r.answers[key]++
	if !h.kind.valid() && r.encode == nil {
		return
	}
	result := vegeta.Result{
		Attack: "appliance bench", Seq: h.n, Code: uint16(h.status), Timestamp: r.started.Add(h.at), Latency: h.took,
		BytesOut: uint64(h.out), BytesIn: uint64(h.in), Error: key.err, Method: http.MethodPost, URL: r.url,
	}
	if r.encode != nil && r.encoded == nil {
		r.encoded = r.encode(&result)
	}
	if h.kind.valid() {
		r.metrics.Add(&result)
		r.addValid(h)
	}
}

func (r *recorder) addValid(h hit) {
	now := r.series.at(h.at + h.took)
	if !h.acknowledged() {
		now.failed++
		if !h.unsent {
			r.unsure.Add(h.event)
		}
		return
	}
	now.answered++
	r.series.at(h.at).latencies.add(h.took)
	r.acks.add(h.took)
	r.acked.Add(h.event)
	if h.took <= r.within {
		r.inTime++
	}
	if !h.duplicate {
		r.news++
	}
}

// snapshot holds how far a load has come.
type snapshot struct {
	sent, acknowledged, wrong uint64
	p99                       time.Duration
}

func (r *recorder) snapshot() snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := snapshot{acknowledged: r.acks.n, p99: r.acks.quantile(0.99)}
	for _, c := range r.kinds {
		g.sent += c.sent
		g.wrong += c.sent - c.expected
	}
	return g
}

// valid returns how many valid requests there were.
func (r *recorder) valid() uint64 { return r.kinds[fresh].sent + r.kinds[duplicate].sent }

// AnswerCount is how often one kind of request was answered in one way.
type AnswerCount struct {
	Kind     string `json:"kind"`
	Status   int    `json:"status,omitempty"` // absent when there was no answer
	Error    string `json:"error,omitempty"`
	Count    uint64 `json:"count"`
	Expected bool   `json:"expected"` // the answer that this kind has to have
}

// table returns the answers by kind, the most frequent first.
func (r *recorder) table() []AnswerCount {
	var rows []AnswerCount
	for k := range kind(kinds) {
		var of []AnswerCount
		for key, n := range r.answers {
			if key.kind == k {
				of = append(of, AnswerCount{Kind: k.String(), Status: key.status, Error: key.err, Count: n, Expected: key.expected()})
			}
		}
		slices.SortFunc(of, func(a, b AnswerCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Error, b.Error))
		})
		rows = append(rows, of...)
	}
	return rows
}

func (k answerKey) expected() bool {
	h := hit{kind: k.kind, status: k.status}
	return k.err == "" && h.expected()
}
