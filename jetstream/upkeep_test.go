package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/loss"
)

// verifiedTo waits until the events up to seq are settled, and has them verified.
func verifiedTo(t *testing.T, b *Broker, seq uint64) {
	t.Helper()
	eventually(t, "settled events", func() bool {
		ds, err := b.PullSettled(t.Context(), 1000)
		return err == nil && len(ds) > 0 && ds[len(ds)-1].Sequence >= seq
	})
	if err := b.Verified(t.Context(), seq); err != nil {
		t.Fatal(err)
	}
}

// deliveredSequences returns the sequences of deliveries, lowest first.
func deliveredSequences(ds []event.Delivery) (seqs []uint64) {
	for _, d := range ds {
		seqs = append(seqs, d.Sequence)
	}
	slices.Sort(seqs)
	return seqs
}

// TestDeletedConsumerIsMadeAgain: it begins behind what is verified, and the pulls that
// were open go on.
func TestDeletedConsumerIsMadeAgain(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		publishN(t, b, 6)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 4)...)
		verifiedTo(t, b, 4)
		for stream, consumer := range map[string]string{eventsStream: processors, advisoriesStream: deadLetters} {
			if err := b.conns.js.DeleteConsumer(t.Context(), stream, consumer); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, b, envelope("7"))
		eventually(t, "the consumers are back", func() bool {
			s, err := b.State(t.Context())
			return err == nil && len(s.Problems) == 0 && b.topo.now().processors.CachedInfo() != nil && s.AckFloor == 4
		})
		// 5 and 6 wait in the puller from before, and come again.
		got := map[uint64]bool{}
		for len(got) < 3 {
			ds := pullN(t, b, 1)
			if ds[0].Sequence <= 4 {
				t.Errorf("%d was verified, and is delivered again", ds[0].Sequence)
			}
			settle(t, b, event.Verdict{Action: event.Ack}, ds...)
			got[ds[0].Sequence] = true
		}
		eventually(t, "all is settled", func() bool {
			for _, d := range pulledNow(b) {
				settle(t, b, event.Verdict{Action: event.Ack}, d)
			}
			s, err := b.State(t.Context())
			return err == nil && s.AckFloor == 7 && s.Unprocessed() == 0
		})
		publish(t, b, envelope("8"))
		settle(t, b, event.Verdict{Action: event.Dead, Code: event.Forged}, pullN(t, b, 1)...)
		if as, err := b.PullAdvisories(within(t, 30*time.Second), 1); err != nil || as[0].Sequence != 8 {
			t.Errorf("advisories after their consumer was deleted: %+v, %v", as, err)
		}
		closeBroker(t, b)
		open(t, cfg) // the consumer is one that a start accepts
	})
}

// pulledNow returns what waits in the puller.
func pulledNow(b *Broker) (ds []event.Delivery) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // it takes what is there
	messages, _ := b.consumer.events.Take(ctx, 1000)
	for _, m := range messages {
		a, _ := parseAckSubject(m.Reply)
		d := decode(m.Header, m.Data, a.seq)
		d.AckTo, d.Attempt = m.Reply, a.deliveries
		ds = append(ds, d)
	}
	return ds
}

// TestDeletedStreamsAreMadeAgain: those that can be derived.
func TestDeletedStreamsAreMadeAgain(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		publishN(t, b, 3)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 3)...)
		verifiedTo(t, b, 2)
		for _, stream := range derived {
			if err := b.conns.js.DeleteStream(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the streams are back", func() bool {
			_, err1 := b.conns.js.Stream(t.Context(), progressStream)
			_, err2 := b.conns.js.Consumer(t.Context(), advisoriesStream, deadLetters)
			_, err3 := b.State(t.Context())
			return errors.Join(err1, err2, err3) == nil
		})
		if got, want := settled(t, b, 10, 1), []uint64{3}; !slices.Equal(got, want) {
			t.Errorf("to be verified: %v, want %v", got, want)
		}
		verifiedTo(t, b, 3)
		if s, err := b.State(t.Context()); err != nil || len(s.Problems) > 0 {
			t.Errorf("state %+v, %v", s, err)
		}
	})
}

// TestPausedConsumerIsReported on an external broker, whose operators may want it so.
func TestPausedConsumerIsReported(t *testing.T) {
	t.Parallel()
	b := open(t, externalConfig(t, startServer(t, nil)))
	until := time.Now().Add(time.Hour)
	if _, err := b.conns.js.PauseConsumer(t.Context(), eventsStream, processors, until); err != nil {
		t.Fatal(err)
	}
	says := func(text string) func() bool {
		return func() bool {
			s, err := b.State(t.Context())
			return err == nil && s.Healthy && strings.Contains(strings.Join(s.Problems, "\n"), text)
		}
	}
	eventually(t, "the pause is reported", says("consumer processors of stream EVENTS is paused from outside until "+until.UTC().Format("2006-01-02T15:")))
	eventually(t, "the way out is", says("nats consumer resume EVENTS processors"))
	if _, err := b.conns.js.ResumeConsumer(t.Context(), eventsStream, processors); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the problem is over", func() bool {
		s, err := b.State(t.Context())
		return err == nil && len(s.Problems) == 0
	})
}

// TestPausedConsumerIsResumed on an embedded broker, which no operator's tool reaches.
func TestPausedConsumerIsResumed(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	if _, err := b.conns.js.PauseConsumer(t.Context(), eventsStream, processors, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	publish(t, b, envelope("1"))
	pullN(t, b, 1)
}

// TestChangedOutside: what promises rest on was changed while we run.
func TestChangedOutside(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		consumer := b.cfg.processorsConfig()
		consumer.MaxDeliver, consumer.BackOff = 7, nil
		if _, err := b.conns.js.UpdateConsumer(t.Context(), eventsStream, consumer); err != nil {
			t.Fatal(err)
		}
		stream := b.cfg.eventsConfig()
		stream.Discard, stream.MaxAge = natsjs.DiscardOld, 24*time.Hour
		if _, err := b.conns.js.UpdateStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
		if cfg.Mode == ModeExternal {
			for _, want := range []string{"consumer processors", "max_deliver is 7, want 5", "stream EVENTS", "discard is DiscardOld, want DiscardNew", "max_age is 24h0m0s, want 0s"} {
				eventually(t, want, func() bool {
					s, err := b.State(t.Context())
					return err == nil && strings.Contains(strings.Join(s.Problems, "\n"), want)
				})
			}
			return
		}
		eventually(t, "both are changed back", func() bool {
			c, err1 := b.conns.js.Consumer(t.Context(), eventsStream, processors)
			s, err2 := b.conns.js.Stream(t.Context(), eventsStream)
			return errors.Join(err1, err2) == nil && c.CachedInfo().Config.MaxDeliver == 5 && s.CachedInfo().Config.Discard == natsjs.DiscardNew
		})
	})
}

// TestConsumerBeyondTheEnd: a stream that is shorter than a consumer's position, which
// would have every new event wait until the stream has caught up.
func TestConsumerBeyondTheEnd(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		for name, restart := range map[string]bool{"while running": false, "at a start": true} {
			b := open(t, cfg)
			from := b.topo.now().events.CachedInfo().State.LastSeq
			for range 5 {
				publish(t, b, envelope(name+time.Now().Format(time.RFC3339Nano)))
			}
			settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 3)...)
			verifiedTo(t, b, from+3)
			if err := b.StopPulling(t.Context()); err != nil && !restart {
				t.Fatal(err)
			}
			if _, err := b.topo.now().events.ResetConsumerToSequence(t.Context(), processors, 100_000); err != nil {
				t.Fatal(err)
			}
			if restart {
				closeBroker(t, b)
				b = open(t, cfg)
			} else {
				b.consumer = newConsumer(cfg, b.conns.consume, b.m, b.log, b.progress.floorMoved)
				b.life.start("pull again", b.consumer.events.Run)
			}
			publish(t, b, envelope(name+" fresh"))
			ds := pullN(t, b, 1)
			if seq := ds[0].Sequence; seq <= from || seq > from+6 {
				t.Errorf("%s: %d is delivered", name, seq)
			}
			eventually(t, name+": all is delivered", func() bool {
				for _, d := range append(ds, pulledNow(b)...) {
					settle(t, b, event.Verdict{Action: event.Ack}, d)
				}
				s, err := b.State(t.Context())
				return err == nil && s.AckFloor == from+6 && s.Unprocessed() == 0
			})
			closeBroker(t, b)
		}
	})
}

// TestPositionIsTakenBack: the position is purged, or set to a lower one, while we run.
// What is verified after that is stored again, and does not come back forever.
func TestPositionIsTakenBack(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		publishN(t, b, 4)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 4)...)
		verifiedTo(t, b, 4)
		s, err := b.conns.js.Stream(t.Context(), progressStream)
		if err != nil {
			t.Fatal(err)
		}
		verifyAll := func(want ...uint64) {
			t.Helper()
			if got := settled(t, b, 10, len(want)); !slices.Equal(got, want) {
				t.Errorf("to be verified: %v, want %v", got, want)
			}
			if err := b.Verified(t.Context(), want[len(want)-1]); err != nil {
				t.Fatal(err)
			}
			if ds, err := b.PullSettled(t.Context(), 10); err != nil || len(ds) > 0 {
				t.Errorf("%v come back after they were verified, %v", deliveredSequences(ds), err)
			}
		}
		if _, err := b.conns.js.Publish(t.Context(), progressSubject, fmt.Appendf(nil, "%d %d", b.topo.birth(), 1)); err != nil {
			t.Fatal(err)
		}
		verifyAll(2, 3, 4)
		if err := s.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		// What is known apart from the stream proves these.
		publish(t, b, envelope("5"))
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 1)...)
		verifyAll(5)
		// Without that everything is verified again.
		if err := s.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		closeBroker(t, b)
		if err := os.RemoveAll(cfg.StateDir); err != nil {
			t.Fatal(err)
		}
		b = open(t, cfg)
		verifyAll(1, 2, 3, 4, 5)
	})
}

// TestPositionBeyondTheEnd: the events that come where it is would never be verified.
func TestPositionBeyondTheEnd(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		publishN(t, b, 3)
		settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 3)...)
		if err := b.progress.store(t.Context(), 90_000); err != nil {
			t.Fatal(err)
		}
		if got, want := settled(t, b, 10, 3), []uint64{1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("to be verified: %v, want %v", got, want)
		}
	})
}

// TestLostFrontIsNamedWithoutAPosition: the reconciler's position and the front of the
// events are gone at once. The first event that is left must not count as proof that
// those before it were verified.
func TestLostFrontIsNamedWithoutAPosition(t *testing.T) {
	t.Parallel()
	cfg := externalConfig(t, startServer(t, nil))
	b := open(t, cfg)
	publishN(t, b, 10)
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 7)...)
	verifiedTo(t, b, 5)
	eventually(t, "the position is known apart from the stream", func() bool {
		known := b.record.Position()
		return known.Verified == 5 && known.Highest == 10
	})
	closeBroker(t, b)
	conn, err := nats.Connect(cfg.URLs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := natsjs.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	events, err := js.Stream(t.Context(), eventsStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(events.Purge(t.Context(), natsjs.WithPurgeSequence(9)), js.DeleteStream(t.Context(), progressStream)); err != nil {
		t.Fatal(err)
	}
	b = loses(t, open(t, cfg))
	if got := b.Losses(); len(got) != 1 || !slices.Equal(got[0].Sequences, []loss.Range{{First: 6, Last: 8}}) {
		t.Errorf("named as missing: %+v, want 6 to 8", got)
	}
}
