//go:build unix

package jetstream

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// named returns the sequences that a broker has named as lost, and by which causes.
func named(b *Broker) string {
	var parts []string
	for _, l := range b.Losses() {
		parts = append(parts, string(l.Cause)+" "+shown(l.Sequences))
	}
	return strings.Join(parts, "; ")
}

// shown shows sequences as "3, 5-9".
func shown(list []loss.Range) string {
	slices.SortFunc(list, func(a, b loss.Range) int { return cmp.Compare(a.First, b.First) })
	var runs []loss.Range
	for _, r := range list {
		if n := len(runs); n > 0 && r.First <= runs[n-1].Last+1 {
			runs[n-1].Last = max(runs[n-1].Last, r.Last)
			continue
		}
		runs = append(runs, r)
	}
	var parts []string
	for _, r := range runs {
		part := strconv.FormatUint(r.First, 10)
		if r.Last > r.First {
			part += "-" + strconv.FormatUint(r.Last, 10)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// eventuallyNamed waits until the broker names exactly these.
func eventuallyNamed(t *testing.T, b *Broker, want string) {
	t.Helper()
	got := ""
	defer func() {
		if got != want {
			t.Logf("named %q", got)
		}
	}()
	eventually(t, "the loss "+want, func() bool { got = named(b); return got == want })
	eventually(t, "a healthy state with one problem", func() bool {
		s, err := b.State(t.Context())
		return err == nil && s.Healthy && len(s.Problems) == 1
	})
}

// wiped has the files of a stopped external server removed, and starts it again.
func (s *serverProcess) wiped(t *testing.T) {
	t.Helper()
	s.kill()
	if err := os.RemoveAll(s.args[len(s.args)-1]); err != nil {
		t.Fatal(err)
	}
	s.start()
}

// saved copies the files of an external server that is being stopped for that.
func (s *serverProcess) saved(t *testing.T) (dir string) {
	t.Helper()
	s.kill()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.args[len(s.args)-1])); err != nil {
		t.Fatal(err)
	}
	s.start()
	return dir
}

// rolledBack gives a stopped external server the files of another time.
func (s *serverProcess) rolledBack(t *testing.T, to string) {
	t.Helper()
	s.kill()
	dir := s.args[len(s.args)-1]
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(to)); err != nil {
		t.Fatal(err)
	}
	s.start()
}

func publishKeys(t *testing.T, b *Broker, tag string, n int) {
	t.Helper()
	for i := range n {
		publish(t, b, envelope(tag+strconv.Itoa(i)))
	}
}

// positionReaches waits until a broker knows that its stream was at seq.
func positionReaches(t *testing.T, b *Broker, seq uint64) {
	t.Helper()
	eventually(t, "position "+strconv.FormatUint(seq, 10), func() bool {
		p := b.record.Position()
		return p.Highest >= seq && p.Anchor >= seq
	})
}

func TestWipedServerIsNoticedAtStart(t *testing.T) {
	t.Parallel()
	for _, consumes := range []bool{true, false} {
		server := startServer(t, nil)
		cfg := externalConfig(t, server)
		all := open(t, cfg)
		cfg.StateDir, cfg.Consume = t.TempDir(), consumes
		b := open(t, cfg)
		publishN(t, b, 20)
		settle(t, all, event.Verdict{Action: event.Ack}, pullN(t, all, 8)...)
		floorReaches(t, all, 8)
		verify(t, all, 8)
		eventually(t, "the verified sequence to be known", func() bool { return b.record.Position().Verified == 8 })
		positionReaches(t, b, 20)
		closeBroker(t, b)
		closeBroker(t, all)
		server.wiped(t)

		b = loses(t, open(t, cfg))
		eventuallyNamed(t, b, "recreated 9-20")
		if _, err := b.AcknowledgeLoss(t.Context(), "1", ""); err != nil {
			t.Fatal(err)
		}
		publishKeys(t, b, "new", 30) // the sequences are used again
		closeBroker(t, b)
		b = loses(t, open(t, cfg))
		if got := named(b); got != "recreated 9-20" {
			t.Errorf("after another start: %q", got)
		}
		if s, err := b.State(t.Context()); err != nil || len(s.Problems) > 0 {
			t.Errorf("an acknowledged loss is a problem after a restart: %q, %v", s.Problems, err)
		}
	}
}

// TestRolledBackServerIsNoticedAtStart has another process publish before the one
// starts again that knows better.
func TestRolledBackServerIsNoticedAtStart(t *testing.T) {
	t.Parallel()
	for name, refilled := range map[string]int{"cut 11-20": 0, "cut 16-20; reused 11-15": 5, "reused 11-20": 30} {
		server := startServer(t, nil)
		cfg := externalConfig(t, server)
		b := open(t, cfg)
		publishKeys(t, b, "old", 10)
		closeBroker(t, b)
		backup := server.saved(t)
		b = open(t, cfg)
		publishKeys(t, b, "lost", 10)
		positionReaches(t, b, 20)
		closeBroker(t, b)
		server.rolledBack(t, backup)

		if refilled > 0 {
			other := cfg
			other.StateDir = t.TempDir()
			o := open(t, other)
			publishKeys(t, o, "new", refilled)
			closeBroker(t, o)
		}
		b = loses(t, open(t, cfg))
		eventuallyNamed(t, b, name)
	}
}

// TestRolledBackServerIsNoticedWhileRunning rolls a server back under a process that
// goes on publishing, and under one that only consumes; what they publish reaches beyond
// what was there, or not as far.
func TestRolledBackServerIsNoticedWhileRunning(t *testing.T) {
	t.Parallel()
	for _, more := range []int{4, 20} {
		t.Run(fmt.Sprint(more, " more"), func(t *testing.T) { rolledBackWhileRunning(t, more) })
	}
}

func rolledBackWhileRunning(t *testing.T, more int) {
	t.Parallel()
	server := startServer(t, nil)
	cfg := externalConfig(t, server)
	cfg.Consume = false
	b := loses(t, open(t, cfg))
	lookingOn := cfg
	lookingOn.StateDir, lookingOn.Consume = t.TempDir(), true
	l := loses(t, open(t, lookingOn))
	publishKeys(t, b, "old", 10)
	backup := server.saved(t)
	eventually(t, "the server to be back", func() bool { _, err := b.Publish(t.Context(), envelope("lost")); return err == nil })
	publishKeys(t, b, "lost", 9)
	positionReaches(t, l, 20)
	server.rolledBack(t, backup)
	eventually(t, "the server to be back", func() bool { _, err := b.Publish(t.Context(), envelope("new")); return err == nil })
	publishKeys(t, b, "new", more)
	for who, b := range map[string]*Broker{"the one that publishes": b, "the one that consumes": l} {
		lost := func() string {
			var all []loss.Range
			for _, l := range b.Losses() {
				all = append(all, l.Sequences...)
			}
			return shown(all)
		}
		defer func() { t.Log(who, "names", named(b)) }()
		eventually(t, who+" to name 11-20", func() bool { return lost() == "11-20" })
		for range 2 { // another comparison finds no more
			if err := b.checker.Update(t.Context()); err != nil || lost() != "11-20" {
				t.Errorf("%s names %s, want 11-20: %v", who, lost(), err)
			}
		}
	}
}

// TestAnswerOvertakenByAnotherIsNoLoss is about clusters: the event that was
// acknowledged as the higher one is still there.
func TestAnswerOvertakenByAnotherIsNoLoss(t *testing.T) {
	t.Parallel()
	b := open(t, externalConfig(t, startServer(t, nil)))
	publishN(t, b, 5)
	receipts := b.checker.Receipts()
	if !receipts.Next(4, "demo:4") { // overtaken by the fifth
		t.Error("not noticed")
	}
	if err := b.checker.Update(t.Context()); err != nil || len(b.Losses()) > 0 {
		t.Errorf("named %s, %v", named(b), err)
	}
	loses(t, b)
	receipts.Next(5, "demo:another")
	receipts.Next(4, "demo:4")
	if err := b.checker.Update(t.Context()); err != nil || named(b) != "reused 4-5" {
		t.Errorf("named %q, %v", named(b), err)
	}
}

// TestDeletedEventsAreALoss has an operator delete events, and purge the stream.
func TestDeletedEventsAreALoss(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := loses(t, open(t, cfg))
		publishN(t, b, 20)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 5)...)
		floorReaches(t, b, 5)
		verify(t, b, 5)
		stream := b.topo.now().events
		for _, seq := range []uint64{2, 7, 8} { // the first of them is verified: history
			if err := stream.DeleteMsg(t.Context(), seq); err != nil {
				t.Fatal(err)
			}
		}
		eventuallyNamed(t, b, "hole 7-8")
		if err := stream.Purge(t.Context(), natsjs.WithPurgeSequence(12)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the purge to be named", func() bool { return named(b) == "hole 6-11" })
		closeBroker(t, b)
		b = loses(t, open(t, cfg))
		publishKeys(t, b, "after", 3)
		if got := named(b); got != "hole 6-11" {
			t.Errorf("after a restart: %q", got)
		}
	})
}

// TestPurgedHistoryIsNoLoss lets retention purge, and loses what PROGRESS knows.
func TestPurgedHistoryIsNoLoss(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg = smallHistory(cfg)
		b := open(t, cfg)
		publishLarge(t, b, 100)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 100)...)
		floorReaches(t, b, 100)
		verify(t, b, 90)
		windowIsOver(t, b)
		eventually(t, "a purge", func() bool { return firstSeq(t, b) > 50 })
		if err := b.conns.js.DeleteStream(t.Context(), progressStream); err != nil {
			t.Fatal(err)
		}
		closeBroker(t, b)
		b = open(t, cfg)
		if err := b.checker.Update(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestHoleThatWasNeverAcknowledgedIsNoLoss has the broker count an event whose sender was
// not told that it is stored, and then not have it, as after a failed write.
func TestHoleThatWasNeverAcknowledgedIsNoLoss(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := open(t, cfg)
	publishN(t, b, 3)
	ack, err := b.conns.js.Publish(t.Context(), subjectPrefix+"demo", []byte("not ours"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.topo.now().events.DeleteMsg(t.Context(), ack.Sequence); err != nil {
		t.Fatal(err)
	}
	if err := b.checker.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, b)

	b = open(t, cfg)
	if got := publish(t, b, envelope("after")).Sequence; got != ack.Sequence+1 {
		t.Errorf("the stream goes on at %d, want %d", got, ack.Sequence+1)
	}
	if err := errors.Join(b.checker.Update(t.Context()), b.ReportMissing(t.Context(), []uint64{ack.Sequence})); err != nil {
		t.Fatal(err)
	}
	if got := named(b); got != "" {
		t.Errorf("named %q", got)
	}
}

// TestCutStreamGoesOnAbove gives an embedded broker the files of an earlier time.
func TestCutStreamGoesOnAbove(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]int{"with events": 4, "empty": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t)
			b := open(t, cfg)
			publishN(t, b, left)
			closeBroker(t, b)
			before := t.TempDir()
			if err := os.CopyFS(before, os.DirFS(cfg.StoreDir)); err != nil {
				t.Fatal(err)
			}
			b = open(t, cfg)
			publishKeys(t, b, "lost", 2500)
			highest := uint64(left + 2500)
			closeBroker(t, b)
			cfg.StoreDir = before

			b = loses(t, open(t, cfg))
			want := "cut " + fmt.Sprintf("%d-%d", left+1, highest)
			eventuallyNamed(t, b, want)
			if r := publish(t, b, envelope("after")); r.Sequence != highest+1 {
				t.Errorf("the next event has sequence %d, want %d", r.Sequence, highest+1)
			}
			ds := pullN(t, b, left+1)
			if last := ds[left]; last.Key != "after" || last.Fault != nil || last.Attempt != 1 {
				t.Errorf("delivered %+v", last)
			}
			settle(t, b, event.Verdict{Action: event.Ack}, ds...)
			floorReaches(t, b, highest+1)
			reconciled := map[string]bool{}
			eventually(t, "everything to be settled", func() bool {
				ds, err := b.PullSettled(t.Context(), 512)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range ds {
					if d.Gap == event.GapMissing {
						t.Fatalf("sequence %d is missing, and named already", d.Sequence)
					}
					if d.Gap == event.NoGap {
						reconciled[d.Key] = true
					}
				}
				if len(ds) > 0 {
					if err := b.Verified(t.Context(), ds[len(ds)-1].Sequence); err != nil {
						t.Fatal(err)
					}
				}
				return b.progress.verified.Load() == highest+1
			})
			if len(reconciled) != left+1 || !reconciled["after"] {
				t.Errorf("reconciled %v", reconciled)
			}
			closeBroker(t, b)
			b = loses(t, open(t, cfg))
			if got := named(b); got != want {
				t.Errorf("after another start: %q", got)
			}
		})
	}
}

// TestDeletedStreamVerifiesNothing has the embedded stream's directory deleted: the
// sequences below the new stream's first are neither verified nor missing from it.
func TestDeletedStreamVerifiesNothing(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := open(t, cfg)
	publishN(t, b, 20)
	closeBroker(t, b)
	streams, err := filepath.Glob(filepath.Join(cfg.StoreDir, "jetstream/*/streams", eventsStream))
	if err != nil || len(streams) != 1 {
		t.Fatalf("the streams are %v, %v", streams, err)
	}
	if err := os.RemoveAll(streams[0]); err != nil {
		t.Fatal(err)
	}
	for range 2 { // another start changes nothing
		b = loses(t, open(t, cfg))
		if s, err := b.State(t.Context()); err != nil || s.Verified != 0 || named(b) != "recreated 1-20" {
			t.Errorf("named %q, verified up to %d, %v", named(b), s.Verified, err)
		}
		closeBroker(t, b)
	}
	b = loses(t, open(t, cfg))
	publish(t, b, envelope("after"))
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 1)...)
	floorReaches(t, b, 21)
	eventually(t, "all to be settled", func() bool {
		ds, err := b.PullSettled(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(ds) == 2 && ds[0].Gap == event.GapKnown && ds[0].Sequence == 20 && ds[1].Key == "after"
	})
}

// TestUnreadableRecordIsMissing damages a record in the middle and the last one of a
// stream that was closed well, of which the broker knows nothing before it reads them.
func TestUnreadableRecordIsMissing(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	b := open(t, cfg)
	publishN(t, b, 20)
	closeBroker(t, b)
	blocks, err := filepath.Glob(filepath.Join(cfg.StoreDir, "jetstream/*/streams", eventsStream, "msgs/1.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("the blocks are %v, %v", blocks, err)
	}
	block, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"evt_7\"", "evt_20\""} {
		block[bytes.LastIndex(block, []byte(body))] ^= 1
	}
	if err := os.WriteFile(blocks[0], block, 0o600); err != nil {
		t.Fatal(err)
	}

	b = loses(t, open(t, cfg))
	eventuallyNamed(t, b, "hole 20")
	publish(t, b, envelope("after"))
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 19)...)
	floorReaches(t, b, 21)
	var missing, known, good []uint64
	eventually(t, "all to be settled", func() bool {
		ds, err := b.PullSettled(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		missing, known, good = nil, nil, nil
		for _, d := range ds {
			switch d.Gap {
			case event.GapMissing:
				missing = append(missing, d.Sequence)
			case event.GapKnown:
				known = append(known, d.Sequence)
			case event.NoGap:
				good = append(good, d.Sequence)
			}
		}
		return len(ds) == 21
	})
	if !slices.Equal(missing, []uint64{7}) || !slices.Equal(known, []uint64{20}) || len(good) != 19 {
		t.Errorf("missing %v, known to be lost %v, good %v", missing, known, good)
	}
}

// TestFillersAreNoEvents leaves messages on the stream that took up lost sequences,
// as a process does that ends before it has removed them.
func TestFillersAreNoEvents(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	publish(t, b, envelope("before"))
	for range 1499 {
		if _, err := b.conns.js.Publish(t.Context(), fillerSubject, nil); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, envelope("after"))
	ds := pullN(t, b, 2)
	if ds[0].Key != "before" || ds[1].Key != "after" || ds[1].Sequence != 1501 {
		t.Errorf("delivered %+v", ds)
	}
	settle(t, b, event.Verdict{Action: event.Ack}, ds...)
	floorReaches(t, b, 1501)
	var settled []event.Delivery
	eventually(t, "all to be settled", func() bool {
		var err error
		if settled, err = b.PullSettled(t.Context(), 2000); err != nil {
			t.Fatal(err)
		}
		return len(settled) == 1501
	})
	for _, d := range settled {
		if isEvent := d.Sequence == 1 || d.Sequence == 1501; isEvent != (d.Gap == event.NoGap) {
			t.Fatalf("settled %+v", d)
		}
	}
}

// TestFirstStartOnAnOlderDirectory starts without what is known apart from the
// stream, as the first version with it does.
func TestFirstStartOnAnOlderDirectory(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg = smallHistory(cfg)
		b := open(t, cfg)
		publishLarge(t, b, 100)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 95)...)
		floorReaches(t, b, 95)
		verify(t, b, 90)
		windowIsOver(t, b)
		eventually(t, "a purge", func() bool { return firstSeq(t, b) > 50 })
		closeBroker(t, b)
		if err := os.RemoveAll(cfg.StateDir); err != nil {
			t.Fatal(err)
		}
		b = open(t, cfg)
		if err := b.checker.Update(t.Context()); err != nil {
			t.Error(err)
		}
		if got := b.record.Position(); got.Highest != 100 || got.Verified != 90 {
			t.Errorf("the position is %+v", got)
		}
	})
}

// TestStateDirectoriesOfSeveralProcesses shares one data directory among processes
// of an external broker.
func TestStateDirectoriesOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startServer(t, nil))
	a, b := open(t, cfg), open(t, cfg)
	publish(t, a, envelope("a"))
	publish(t, b, envelope("b"))
	for _, dir := range []string{cfg.StateDir, cfg.StateDir + "-2"} {
		if _, err := os.Stat(filepath.Join(dir, "position")); err != nil {
			t.Errorf("a process of two has no record of its own: %v", err)
		}
	}
}

// TestDeliberateTrafficIsNoLoss refuses, repeats and redelivers.
func TestDeliberateTrafficIsNoLoss(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.MaxBytes, cfg.HistoryHighBytes, cfg.HistoryLowBytes = 256<<10, 128<<10, 64<<10
		cfg.AckWait = 300 * time.Millisecond
		b := open(t, cfg)
		full := 0
		for i := range 400 {
			e := envelope("full" + strconv.Itoa(i))
			e.Body = make([]byte, 1000)
			if _, err := b.Publish(t.Context(), e); err != nil {
				full++
			}
			_, _ = b.Publish(t.Context(), e)
		}
		if full == 0 {
			t.Fatal("the stream never was full")
		}
		settle(t, b, event.Verdict{Action: event.Retry, Delay: 10 * time.Millisecond}, pullN(t, b, 50)...)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 100)...)
		if err := b.checker.Update(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
