package process

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/stamp"
)

// idleRounds bounds how often in a row a batch is read and written again without
// a single event getting its verdict, because other workers keep changing the
// same rows.
const idleRounds = 5

// contention is the longest wait for each round that was lost to another process.
const contention = 5 * time.Millisecond

// Handler decides what becomes of a batch of deliveries. It is safe for
// concurrent use: two handlers that meet at a row notice by its version. Every field is
// required, and none may change once the handler is in use.
type Handler struct {
	Store   Store
	Cache   Cache
	Stamper *stamp.Stamper // verifies that an event came through this appliance
	Read    Reader
	// MaxAhead returns how far ahead of its receipt an event of a courier may be dated.
	MaxAhead func(courier string) time.Duration
	// Mapped reports whether a courier's status, with its detail, means something by its
	// mapping: for a scan of a history, or for an event of its own.
	Mapped   func(courier, status string, scan bool) bool
	Statuses Statuses
	Policy   Policy // attempts, and the wait between them
	Log      *slog.Logger
	Metrics  *Metrics
	Now      func() time.Time

	quarantine quarantine
	rounds     sync.RWMutex // held for reading over a round, for writing over one that follows a lost one
}

// job is one delivery of a batch on its way to a verdict.
type job struct {
	event.Delivery
	event     event.Event
	hash      string       // of the body
	invalid   string       // why the event can't be applied, "" when it can
	isolated  bool         // its change failed together with others: commit it by itself
	exclusive bool         // nothing is handled beside it in this process
	record    event.Record // as it will be written
	applied   bool         // to its shipment, just now
	decided   bool
	verdict   event.Verdict
}

// decide sets the verdict and takes the job out of the rounds that follow.
func (j *job) decide(v event.Verdict) { j.verdict, j.decided = v, true }

// undecided returns the jobs without a verdict.
func undecided(jobs []*job) []*job {
	return slices.DeleteFunc(slices.Clone(jobs), func(j *job) bool { return j.decided })
}

// Handle returns one verdict per delivery, in their order. When it returns, what
// the verdicts say is stored. An error means that nothing could be decided, mostly
// because a dependency is down: no attempt is spent, and the same batch, or a part
// of it, can be handed in again.
func (h *Handler) Handle(ctx context.Context, batch []event.Delivery) ([]event.Verdict, error) {
	return h.handle(ctx, batch, false)
}

// handle is Handle; with exclusive the batch is one event, beside which nothing is
// handled in this process.
func (h *Handler) handle(ctx context.Context, batch []event.Delivery, exclusive bool) ([]event.Verdict, error) {
	leave := h.quarantine.enter(exclusive)
	defer leave()
	jobs := make([]*job, len(batch))
	for i, d := range batch {
		jobs[i] = &job{Delivery: d, hash: event.BodyHash(d.Body), exclusive: exclusive}
	}
	inOrder := slices.SortedStableFunc(slices.Values(jobs), func(a, b *job) int {
		return cmp.Compare(a.Sequence, b.Sequence)
	})
	if err := h.refuseForeign(ctx, inOrder); err != nil {
		return nil, err
	}
	h.skipCached(ctx, undecided(inOrder))
	if err := h.runRounds(ctx, inOrder); err != nil {
		return nil, err
	}
	h.cacheProcessed(ctx, jobs)
	h.countUnmapped(ctx, jobs)
	verdicts := make([]event.Verdict, len(jobs))
	for i, j := range jobs {
		if !j.decided { // lost every round to other writers
			j.decide(h.retry(j, event.VersionConflict))
		}
		verdicts[i] = j.verdict
	}
	return verdicts, nil
}

// runRounds does rounds until every job is decided, or none was in too many of them.
func (h *Handler) runRounds(ctx context.Context, jobs []*job) error {
	todo := undecided(jobs)
	for idle := 0; len(todo) > 0 && idle < idleRounds; {
		if err := h.runRound(ctx, todo, idle); err != nil {
			return err
		}
		left := undecided(todo)
		if idle++; len(left) < len(todo) {
			idle = 0
		}
		todo = left
	}
	return nil
}

// runRound does a round. After one in which nothing was decided, because other writers
// were quicker with the same rows, it holds the rounds of this process exclusively, and
// after another one waits for a short time of random length, because of those in other
// processes: two that keep step would otherwise meet at the same rows again and again,
// and the slower one would lose every time.
func (h *Handler) runRound(ctx context.Context, jobs []*job, idle int) error {
	if idle == 0 {
		h.rounds.RLock()
		defer h.rounds.RUnlock()
		return h.round(ctx, jobs)
	}
	h.rounds.Lock()
	defer h.rounds.Unlock()
	if idle > 1 { // exclusive here, and it has lost all the same
		sleep(ctx, rand.N(time.Duration(idle)*contention))
	}
	return h.round(ctx, jobs)
}

// refuseForeign dead-letters what no courier sent through this appliance: a message that
// is no envelope, or carries no valid stamp. Their headers can't be trusted, so the
// ledger is not touched: a forged copy must not end the genuine event. One commit
// serves all, because a sender that forges one message can forge many.
func (h *Handler) refuseForeign(ctx context.Context, jobs []*job) error {
	var refused []*job
	var changes []event.Change
	for _, j := range jobs {
		code, message := h.inspect(j)
		if code == "" {
			continue
		}
		now := h.Now()
		letter := newDeadLetter(&j.Delivery, code, message, now)
		letter.Attempts = []event.Attempt{{
			Number: j.Attempt, StartedAt: now, EndedAt: now, Outcome: event.GaveUp, Code: code, Message: message,
		}}
		refused = append(refused, j)
		changes = append(changes, event.Change{DeadLetters: []event.DeadLetter{letter}})
	}
	if len(refused) == 0 {
		return nil
	}
	errs, err := h.Store.Commit(ctx, changes)
	if err = batchError(ctx, h.Store, err); isDown(err) || commitTooLarge(err, len(changes)) {
		return err
	}
	for i, j := range refused {
		failed := err
		if failed == nil {
			failed = storeError(ctx, h.Store, errs[i])
		}
		switch letter := &changes[i].DeadLetters[0]; {
		case failed == nil:
			h.deadLettered(j, letter.Code, letter.Message)
		case isDown(failed):
			return failed
		default:
			j.decide(h.retry(j, event.CodeOf(failed)))
		}
	}
	return nil
}

// inspect decodes a delivery and returns why it is not an event of ours, or "".
func (h *Handler) inspect(j *job) (event.Code, string) {
	if j.Fault != nil {
		return event.Malformed, "the message is no envelope: " + j.Fault.Error()
	}
	if !h.Stamper.Verify(&j.Envelope) {
		return event.Forged, "the message carries no valid stamp of this appliance"
	}
	if faults := h.Read(&j.Envelope, &j.event, nil); len(faults) > 0 {
		j.invalid = faults[0].Path + ": " + faults[0].Message
	}
	return "", ""
}

// skipCached acknowledges copies of events that the cache knows as processed
// with the same body. The ledger decides on everything else, and on what
// was requeued or replayed: that happens because the ledger lacks its outcome.
func (h *Handler) skipCached(ctx context.Context, jobs []*job) {
	if len(jobs) == 0 {
		return
	}
	hashes, err := h.Cache.Lookup(ctx, identities(jobs))
	if err != nil {
		h.Metrics.cacheErrors.Inc()
		return
	}
	for i, j := range jobs {
		if hashes[i] == j.hash && j.Replay == "" {
			h.Metrics.duplicates.Inc()
			j.decide(event.Verdict{Action: event.Ack})
		}
	}
}

// cacheProcessed stores in the cache what was processed.
func (h *Handler) cacheProcessed(ctx context.Context, jobs []*job) {
	var done []*job
	var hashes []string
	for _, j := range jobs {
		if j.decided && j.record.Status == event.Processed && j.record.BodyHash == j.hash {
			done, hashes = append(done, j), append(hashes, j.hash)
		}
	}
	if len(done) == 0 {
		return
	}
	if err := h.Cache.Store(ctx, identities(done), hashes); err != nil {
		h.Metrics.cacheErrors.Inc()
	}
}

// retry is the verdict on a failed attempt. Past the last attempt the broker
// does not deliver again, but sends an advisory to the [DeadLetterer].
func (h *Handler) retry(j *job, code event.Code) event.Verdict {
	return event.Verdict{Action: event.Retry, Code: code, Delay: h.Policy.jittered(j.Attempt)}
}

// deadLettered concludes a job whose dead letter is stored.
func (h *Handler) deadLettered(j *job, code event.Code, message string) {
	countDeadLetter(h.Metrics, h.Log, &j.Delivery, code, message)
	j.decide(event.Verdict{Action: event.Dead, Code: code})
}

func identities(jobs []*job) []event.Identity {
	ids := make([]event.Identity, len(jobs))
	for i, j := range jobs {
		ids[i] = j.Identity()
	}
	return ids
}

// attrs are a delivery's attributes in a log line.
func attrs(d *event.Delivery) []any {
	return []any{
		"event_id", d.EventID, "courier", d.Courier, "trace_id", d.TraceID,
		"attempt", d.Attempt, "sequence", d.Sequence,
	}
}
