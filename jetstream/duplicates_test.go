package jetstream

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
)

// openShortWindow opens a broker whose server knows ids for 100ms, so that
// whatever is known after that is known by us.
func openShortWindow(t *testing.T, cfg Config) *Broker {
	t.Helper()
	deps := testDeps()
	deps.serverWindow = 100 * time.Millisecond
	return openWith(t, cfg, deps)
}

// serverWindowEnds waits until the embedded server knows none of the ids stored so far.
// It is asked with a copy of the latest, which goes last, under a condition that
// keeps the copy out of the stream: for an id that it knows it says so before.
func serverWindowEnds(t *testing.T, b *Broker) {
	t.Helper()
	latest, err := b.topo.now().events.GetMsg(t.Context(), lastSeq(t, b))
	if err != nil {
		t.Fatal(err)
	}
	copied := &nats.Msg{Subject: latest.Subject, Header: nats.Header{
		msgIDHeader: latest.Header[msgIDHeader], natsjs.ExpectedLastMsgIDHeader: {"none"},
	}}
	eventually(t, "the server's window ends", func() bool {
		answer, err := b.conns.admin.RequestMsg(copied, time.Second)
		return err == nil && bytes.Contains(answer.Data, []byte("wrong last msg ID"))
	})
}

// knows waits until the broker knows n ids.
func knows(t *testing.T, b *Broker, n int) {
	t.Helper()
	eventually(t, strconv.Itoa(n)+" ids are known", func() bool {
		return b.filler.Window.Expire(time.Now()) == n
	})
}

// duplicates expects the events 1 to n to be known as stored at those sequences.
func duplicates(t *testing.T, b *Broker, n int) {
	t.Helper()
	last := lastSeq(t, b)
	for i := 1; i <= n; i++ {
		if r := publish(t, b, envelope(strconv.Itoa(i))); r != (event.Receipt{Sequence: uint64(i), Duplicate: true}) {
			t.Errorf("event %d again: %+v", i, r)
		}
	}
	if got := lastSeq(t, b); got != last {
		t.Errorf("the duplicates were stored: the stream ends at %d, was %d", got, last)
	}
}

func TestDuplicatesAreKnownLongerThanByTheServer(t *testing.T) {
	t.Parallel()
	b := openShortWindow(t, testConfig(t))
	publishN(t, b, 5)
	serverWindowEnds(t, b)
	duplicates(t, b, 5)
	other := envelope("3")
	other.Body = []byte(`{"eventId":"another"}`)
	want := event.Receipt{Sequence: 3, Duplicate: true, Conflict: true}
	if r := publish(t, b, other); r != want || lastSeq(t, b) != 6 {
		t.Errorf("another body: %+v, the stream ends at %d", r, lastSeq(t, b))
	}
	serverWindowEnds(t, b)
	if r := publish(t, b, other); r != want || lastSeq(t, b) != 6 {
		t.Errorf("another body again: %+v, the stream ends at %d", r, lastSeq(t, b))
	}
}

func TestDuplicatesAreStoredAfterTheWindow(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.DuplicateWindow = 200 * time.Millisecond
	b := openShortWindow(t, cfg)
	publishN(t, b, 1)
	serverWindowEnds(t, b)
	var r event.Receipt
	eventually(t, "the broker's window ends", func() bool { r = publish(t, b, envelope("1")); return !r.Duplicate })
	if r != (event.Receipt{Sequence: 2}) {
		t.Errorf("after the window: %+v", r)
	}
}

// TestStoredWithoutAnAnswerIsKnown stores events whose answers are not read, as
// after a publish that was given up.
func TestStoredWithoutAnAnswerIsKnown(t *testing.T) {
	t.Parallel()
	b := openShortWindow(t, testConfig(t))
	store := func(key string) {
		e := envelope(key)
		m := &nats.Msg{Subject: subjectPrefix + e.Courier, Data: e.Body, Header: nats.Header{msgIDHeader: {e.MsgID()}}}
		e.Headers(func(name, value string) bool { m.Header[name] = []string{value}; return true })
		if err := b.conns.admin.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	store("1")
	store("2")
	knows(t, b, 2) // although nothing was answered since
	publish(t, b, envelope("3"))
	store("4")
	eventually(t, "the fourth is stored", func() bool { return lastSeq(t, b) == 4 })
	publish(t, b, envelope("5"))
	knows(t, b, 5)
	serverWindowEnds(t, b)
	duplicates(t, b, 5)
}

func TestGivenUpPublishIsKnown(t *testing.T) {
	t.Parallel()
	b := openShortWindow(t, testConfig(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var err error
	n := 0
	for err == nil { // an answer may be quicker than the check of the context
		n++
		_, err = b.Publish(ctx, envelope(strconv.Itoa(n)))
	}
	if event.CodeOf(err) != event.IntakeUnavailable {
		t.Fatal(err)
	}
	knows(t, b, n)
	serverWindowEnds(t, b)
	duplicates(t, b, n)
}

func TestDuplicatesAreKnownAfterARestart(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.MaxMessageBytes = 1 << 20
	b := loses(t, openShortWindow(t, cfg))
	publishN(t, b, 20)
	big := envelope("21")
	big.Body = bytes.Repeat([]byte("x"), 900<<10) // among small ones
	publish(t, b, big)
	publish(t, b, envelope("22"))
	if err := b.topo.now().events.DeleteMsg(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, b)
	b = loses(t, openShortWindow(t, cfg))
	knows(t, b, 21)
	if from, to, ok := b.filler.Window.Hole(22); ok {
		t.Errorf("%d to %d are holes", from, to)
	}
	serverWindowEnds(t, b)
	duplicates(t, b, 6)
	if r := publish(t, b, big); r != (event.Receipt{Sequence: 21, Duplicate: true}) {
		t.Errorf("the big one: %+v", r)
	}
	// The server restarted alone, as after a fault.
	restartInPlace(t, b)
	serverWindowEnds(t, b)
	duplicates(t, b, 6)
}

// TestBackfill reads several files of the store, and asks the broker for what it can't
// read there.
func TestBackfill(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.MaxBytes, cfg.HistoryHighBytes, cfg.HistoryLowBytes = 256<<20, 256<<20, 128<<20
	cfg.MaxMessageBytes = 4 << 20
	b := openShortWindow(t, cfg)
	const n = 40
	large := envelope("x")
	for i := range n {
		large.Key, large.Body = strconv.Itoa(i), make([]byte, i%2<<20)
		publish(t, b, large)
	}
	const subjectAt = 25 // in the first record
	for name, damage := range map[string]func(t *testing.T, b *Broker){
		"whole": func(*testing.T, *Broker) {},
		"a record that can't be read": func(t *testing.T, b *Broker) {
			path := filepath.Join(b.server.MessageDir(eventsStream), "1.blk")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			content[subjectAt] ^= 1 // its subject, which the broker has in memory
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				content[subjectAt] ^= 1
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Error(err)
				}
			})
		},
		"a file that can't be read": func(t *testing.T, b *Broker) {
			path := filepath.Join(b.server.MessageDir(eventsStream), "999.blk")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Remove(path) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			damage(t, b)
			if err := b.filler.Backfill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, _, ok := b.filler.Window.Hole(n); ok || b.filler.Window.Expire(time.Now()) < n-1 { // the broker may not read a damaged one either
				t.Errorf("%d ids are known, want %d; holes: %v", b.filler.Window.Expire(time.Now()), n, ok)
			}
		})
	}
}

// TestSecondCopyWaitsForTheFlush holds the flush of an event: its copy, which is
// known to be stored, must not be answered before.
func TestSecondCopyWaitsForTheFlush(t *testing.T) {
	t.Parallel()
	deps := testDeps()
	release, opened := make(chan struct{}), make(chan struct{})
	deps.flush = func() error {
		select {
		case <-opened:
			<-release
		default:
		}
		return nil
	}
	b := openWith(t, testConfig(t), deps)
	close(opened)
	answers := make(chan event.Receipt, 2)
	send := func() { answers <- publish(t, b, envelope("k")) }
	go send()
	knows(t, b, 1)
	go send()
	eventually(t, "the copy waits", func() bool {
		return b.publisher.group.Waiting() == 1
	})
	select {
	case r := <-answers:
		t.Errorf("%+v before anything was flushed", r)
	default:
	}
	close(release)
	for range 2 {
		if r := <-answers; r.Sequence != 1 {
			t.Errorf("receipt %+v", r)
		}
	}
}

func TestExternalBrokerKnowsDuplicatesItself(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startServer(t, nil))
	b := open(t, cfg)
	info, err := b.topo.now().events.Info(t.Context())
	if err != nil || info.Config.Duplicates != cfg.DuplicateWindow || b.filler != nil {
		t.Errorf("the window is %v, want %v; we know ids: %v", info.Config.Duplicates, cfg.DuplicateWindow, b.filler != nil)
	}
}
