package process

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
)

// idleRounds bounds how often in a row a batch is read and written anew without
// a single event getting its verdict, because other workers keep changing the
// same rows.
const idleRounds = 5

// contention is the longest wait for each round that was lost to another process.
const contention = 5 * time.Millisecond

// Handler decides what becomes of a batch of deliveries. It is safe for
// concurrent use: two handlers that meet at a row notice by its version.
type Handler struct {
	Store   Store
	Cache   Cache
	Stamper *event.Stamper
	Read    Reader
	Policy  Policy
	Log     *slog.Logger
	Metrics *Metrics
	Now     func() time.Time

	turns   sync.RWMutex // see turn
	company sync.RWMutex // held for reading over a batch, for writing over a suspected event
}

// job is one delivery of a batch on its way to a verdict.
type job struct {
	event.Delivery
	event   event.Event
	hash    string       // of the body
	invalid string       // why the event can't be applied, "" when it can
	alone   bool         // failed in company: commit it by itself
	lonely  bool         // nothing is handled beside it in this process
	record  event.Record // as it will be written
	decided bool
	verdict event.Verdict
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

// handle is Handle; with lonely the batch is one event, beside which nothing is
// handled in this process.
func (h *Handler) handle(ctx context.Context, batch []event.Delivery, lonely bool) ([]event.Verdict, error) {
	if lonely {
		h.company.Lock()
		defer h.company.Unlock()
	} else {
		h.company.RLock()
		defer h.company.RUnlock()
	}
	jobs := make([]*job, len(batch))
	for i, d := range batch {
		jobs[i] = &job{Delivery: d, hash: event.BodyHash(d.Body), lonely: lonely}
	}
	inOrder := slices.SortedStableFunc(slices.Values(jobs), func(a, b *job) int {
		return cmp.Compare(a.Sequence, b.Sequence)
	})
	if err := h.refuse(ctx, inOrder); err != nil {
		return nil, err
	}
	h.skipCached(ctx, undecided(inOrder))
	for idle := 0; idle < idleRounds; idle++ {
		todo := undecided(inOrder)
		if len(todo) == 0 {
			break
		}
		if err := h.turn(ctx, todo, idle); err != nil {
			return nil, err
		}
		if len(undecided(todo)) < len(todo) {
			idle = -1
		}
	}
	h.remember(ctx, jobs)
	verdicts := make([]event.Verdict, len(jobs))
	for i, j := range jobs {
		if !j.decided { // lost every round to other writers
			j.decide(h.retry(j, event.VersionConflict))
		}
		verdicts[i] = j.verdict
	}
	return verdicts, nil
}

var errPanicked = errors.New("the handler panicked")

// try is handle, and turns a panic into [errPanicked].
func (h *Handler) try(ctx context.Context, batch []event.Delivery, lonely bool) (verdicts []event.Verdict, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			h.Log.Error("the handler panicked", "events", len(batch), "sequence", batch[0].Sequence,
				"cause", cause, "stack", string(debug.Stack()))
			verdicts, err = nil, errPanicked
		}
	}()
	return h.handle(ctx, batch, lonely)
}

// turn does a round. After one in which nothing was decided, because others were
// quicker with the same rows, it goes alone in this process, and after a short wait
// of random length, for the sake of those in others: two that step in time would
// otherwise meet at the same rows again and again, and the slower one would lose
// every time.
func (h *Handler) turn(ctx context.Context, jobs []*job, idle int) error {
	if idle == 0 {
		h.turns.RLock()
		defer h.turns.RUnlock()
		return h.round(ctx, jobs)
	}
	h.turns.Lock()
	defer h.turns.Unlock()
	if idle > 1 { // alone here, and it has lost all the same
		timer := time.NewTimer(rand.N(time.Duration(idle) * contention))
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return h.round(ctx, jobs)
}

// refuse dead-letters what no courier sent through this appliance: a message that
// is no envelope, or carries no valid stamp. Their headers prove nothing, so the
// ledger is left alone: a forged copy must not end the life of the true event. One
// commit serves all, because whoever forges one message can forge many.
func (h *Handler) refuse(ctx context.Context, jobs []*job) error {
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
	if err = h.unjudged(ctx, err); isDown(err) || tooMuch(err, len(changes)) {
		return err
	}
	for i, j := range refused {
		failed := err
		if failed == nil {
			failed = h.callError(ctx, errs[i])
		}
		switch letter := &changes[i].DeadLetters[0]; {
		case failed == nil:
			h.dead(j, letter.Code, letter.Message)
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
// with the same body. Everything else is the ledger's to decide, and so is what
// was put back or replayed: that happens because the ledger lacks its outcome.
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

// remember tells the cache what was processed.
func (h *Handler) remember(ctx context.Context, jobs []*job) {
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

// callError tells a dependency that is down from one that merely failed: a call
// that timed out while the store does not answer a ping says nothing about the
// events it was made for.
func (h *Handler) callError(ctx context.Context, err error) error {
	if err == nil || classOf(event.CodeOf(err)) != transient {
		return err
	}
	if ctx.Err() != nil {
		return &event.Error{Code: event.DependencyDown, Op: "process a batch", Err: err}
	}
	if ping := h.Store.Ping(ctx); ping != nil {
		return &event.Error{Code: event.DependencyDown, Op: "process a batch", Err: errors.Join(err, ping)}
	}
	return err
}

// retry is the verdict on a failed attempt. Past the last attempt the broker
// makes its own end of it, which the [Mover] hears of.
func (h *Handler) retry(j *job, code event.Code) event.Verdict {
	return event.Verdict{Action: event.Retry, Code: code, Delay: h.Policy.jittered(j.Attempt)}
}

// dead concludes a job whose dead letter is stored.
func (h *Handler) dead(j *job, code event.Code, message string) {
	h.Metrics.deadLettered(code)
	h.Log.Warn("event dead-lettered", append(attrs(j), "code", string(code), "reason", message)...)
	j.decide(event.Verdict{Action: event.Dead, Code: code})
}

func identities(jobs []*job) []event.Identity {
	ids := make([]event.Identity, len(jobs))
	for i, j := range jobs {
		ids[i] = j.Identity()
	}
	return ids
}

func attrs(j *job) []any {
	return []any{
		"event_id", j.EventID, "courier", j.Courier, "trace_id", j.TraceID,
		"attempt", j.Attempt, "sequence", j.Sequence,
	}
}

// tooMuch reports whether err may be due to the number of changes in a commit, and
// none of them to blame for it.
func tooMuch(err error, changes int) bool { return changes > 1 && event.CodeOf(err) == event.Timeout }

// throttled reports whether err is due to a store that asks for less.
func throttled(err error) bool {
	for err != nil {
		e, ok := errors.AsType[*event.Error](err)
		if !ok {
			return false
		}
		if e.Code == event.Throttled {
			return true
		}
		err = e.Err
	}
	return false
}

// anyDown returns the first of a commit's outcomes that says that the store takes no
// such change at present, nil when there is none.
func anyDown(errs []error) error {
	if i := slices.IndexFunc(errs, isDown); i >= 0 {
		return errs[i]
	}
	return nil
}

// isDown reports whether err says that a dependency can't be used at all.
func isDown(err error) bool { return classOf(event.CodeOf(err)) == down }
