package jetstream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/pull"
)

const ms = time.Millisecond

// TestRedeliveryDelays measures the broker against the policy.
func TestRedeliveryDelays(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.AckWait, cfg.Delays = 30*time.Second, []time.Duration{50 * ms, 300 * ms, 600 * ms, 1200 * ms}
		checkDelays(t, cfg, []time.Duration{57 * ms, 340 * ms, 700 * ms, 1300 * ms})
	})
}

// TestRedeliveryDelayIsTheVerdicts retries always after the same short time,
// under a policy whose waits grow enormously: if their growth were not taken out,
// the third attempt would be minutes late.
func TestRedeliveryDelayIsTheVerdicts(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.AckWait, cfg.Delays = 30*time.Second, []time.Duration{50 * ms, time.Minute, 2 * time.Minute, 3 * time.Minute}
		checkDelays(t, cfg, []time.Duration{70 * ms, 70 * ms, 70 * ms, 70 * ms})
	})
}

// checkDelays retries 20 events after each of delays, a little apart from each
// other. No attempt may come before its delay, and one of the events at least must
// come soon after it, whatever a busy machine does to the others. A verdict that
// the broker missed would cost the ack wait, which is far beyond that.
func checkDelays(t *testing.T, cfg Config, delays []time.Duration) {
	t.Helper()
	const events = 20
	b := open(t, cfg)
	publishN(t, b, events)
	begun := map[uint64]time.Time{} // when a delivery was answered, by sequence
	late := make([]time.Duration, len(delays))
	for i := range late {
		late[i] = time.Hour
	}
	for left := events * (len(delays) + 1); left > 0; left-- {
		d := pullN(t, b, 1)[0]
		now, apart := time.Now(), time.Duration(d.Sequence)*5*ms
		if n := d.Attempt - 2; n >= 0 {
			over := now.Sub(begun[d.Sequence]) - delays[n] - apart
			if over < 0 {
				t.Errorf("attempt %d of %d came %v too early", d.Attempt, d.Sequence, -over)
			}
			late[n] = min(late[n], over)
		}
		begun[d.Sequence] = now
		v := event.Verdict{Action: event.Ack}
		if d.Attempt <= len(delays) {
			v = event.Verdict{Action: event.Retry, Delay: delays[d.Attempt-1] + apart}
		}
		settle(t, b, v, d)
	}
	for n, delay := range delays {
		if most := delay/5 + 100*ms; late[n] > most {
			t.Errorf("attempt %d never came less than %v after its delay of %v, want %v at most", n+2, late[n], delay, most)
		}
	}
}

func TestExhaustedByRetries(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.AckWait, cfg.Delays = 5*time.Second, []time.Duration{50 * ms, 300 * ms, 600 * ms, 1200 * ms}
		b := open(t, cfg)
		publishN(t, b, 2)
		for n := 1; n <= 5; n++ {
			for _, d := range pullN(t, b, map[bool]int{true: 2, false: 1}[n == 1]) {
				if d.Sequence == 2 {
					settle(t, b, event.Verdict{Action: event.Ack}, d)
					continue
				}
				if d.Attempt != n {
					t.Fatalf("attempt %d, want %d", d.Attempt, n)
				}
				settle(t, b, event.Verdict{Action: event.Retry, Delay: 10 * ms}, d)
			}
		}
		checkAdvisory(t, b, event.Advisory{Sequence: 1, Deliveries: 5})
		floorReaches(t, b, 2) // past the exhausted one
	})
}

func TestExhaustedBySilence(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.AckWait, cfg.Delays = 120*ms, []time.Duration{10 * ms, 20 * ms, 30 * ms, 40 * ms}
		b := open(t, cfg)
		publishN(t, b, 1)
		for n := 1; n <= 5; n++ {
			if d := pullN(t, b, 1)[0]; d.Attempt != n { // and not a word about it
				t.Fatalf("attempt %d, want %d", d.Attempt, n)
			}
		}
		checkAdvisory(t, b, event.Advisory{Sequence: 1, Deliveries: 5, Unanswered: true})
		floorReaches(t, b, 1)
	})
}

func TestDeadVerdictIsAnnounced(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		publishN(t, b, 1)
		settle(t, b, event.Verdict{Action: event.Dead, Code: event.DomainInvalid}, pullN(t, b, 1)...)
		if err := b.SettleAdvisory(pullAdvisory(t, b), false); err != nil { // not now
			t.Fatal(err)
		}
		checkAdvisory(t, b, event.Advisory{Sequence: 1, Deliveries: 1, Terminated: true, Reason: "DOMAIN_INVALID"})
		floorReaches(t, b, 1)
	})
}

// TestFloorPassesTheExhaustedUnderLoad keeps events in flight all the time, so
// that the broker's stored floor is stuck at the one it gave up on.
func TestFloorPassesTheExhaustedUnderLoad(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.AckWait, cfg.MaxDeliver, cfg.Delays = 120*ms, 2, []time.Duration{10 * ms}
		b := open(t, cfg)
		publishN(t, b, 1)
		exhausted := pullN(t, b, 1)
		publish(t, b, envelope("held"))
		publish(t, b, envelope("held longer"))
		var held []event.Delivery
		for len(exhausted) < 2 || len(held) < 2 {
			d := pullN(t, b, 1)[0]
			if d.Sequence == 1 {
				exhausted = append(exhausted, d) // and not a word about it
				continue
			}
			settle(t, b, event.Verdict{Action: event.Retry, Delay: time.Hour}, d)
			held = append(held, d)
		}
		checkAdvisory(t, b, event.Advisory{Sequence: 1, Deliveries: 2, Unanswered: true})
		for want := range uint64(2) {
			eventually(t, "the floor passes the exhausted event", func() bool {
				floor, err := b.progress.settledFloor(t.Context())
				return err == nil && floor == want+1
			})
			settle(t, b, event.Verdict{Action: event.Ack}, held[want])
		}
	})
}

// checkAdvisory expects one advisory and settles it.
func checkAdvisory(t *testing.T, b *Broker, want event.Advisory) {
	t.Helper()
	got := pullAdvisory(t, b)
	if err := b.SettleAdvisory(got, true); err != nil {
		t.Fatal(err)
	}
	if got.AckTo = ""; got != want {
		t.Errorf("advisory %+v, want %+v", got, want)
	}
	eventually(t, "no advisory waits", func() bool {
		info, err := b.topo.now().deadLetters.Info(t.Context())
		return err == nil && unhandled(info) == 0
	})
}

func pullAdvisory(t *testing.T, b *Broker) event.Advisory {
	t.Helper()
	defer keepPulling(t, b)() // without an open pull the broker notices nothing
	as, err := b.PullAdvisories(within(t, 30*time.Second), 10)
	if err != nil || len(as) != 1 {
		t.Fatalf("PullAdvisories = %v, %v", as, err)
	}
	return as[0]
}

// keepPulling pulls until stopped, and wants nothing to come.
func keepPulling(t *testing.T, b *Broker) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if ds, err := b.Pull(ctx, 1); err == nil {
			t.Errorf("unexpected delivery %+v", ds[0])
		}
	}()
	return func() { cancel(); <-done }
}

func TestForeignAdvisoriesAreIgnored(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	subject := b.cfg.advisoriesConfig().Subjects[0]
	for _, junk := range []string{
		`junk`, `{}`,
		`{"type":"io.nats.jetstream.advisory.v1.max_deliver","stream":"OTHER","consumer":"processors","stream_seq":1}`,
		`{"type":"io.nats.jetstream.advisory.v1.terminated","stream":"EVENTS","consumer":"processors","stream_seq":1,"reason":"Message deleted by stream limits"}`,
		`{"type":"io.nats.jetstream.advisory.v1.max_deliver","stream":"EVENTS","consumer":"processors","stream_seq":7,"deliveries":5}`,
	} {
		if _, err := b.conns.js.Publish(t.Context(), subject, []byte(junk)); err != nil {
			t.Fatal(err)
		}
	}
	as, err := b.PullAdvisories(within(t, 30*time.Second), 10)
	if err != nil || len(as) != 1 || as[0].Sequence != 7 {
		t.Fatalf("PullAdvisories = %+v, %v", as, err)
	}
}

// TestPauseSpendsNoAttempt holds one delivery and leaves others in the buffer
// for many acknowledgement waits.
func TestPauseSpendsNoAttempt(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.AckWait = 2 * time.Second
		cfg.PullBuffer = 16
		b := open(t, cfg)
		publishN(t, b, 40)
		held := pullN(t, b, 1)
		ctx := within(t, 2*cfg.AckWait+500*ms)
		for sleep(ctx, cfg.AckWait/4) == nil {
			if err := b.KeepAlive(held); err != nil {
				t.Fatal(err)
			}
		}
		if n := b.consumer.events.Buffered(); n > cfg.PullBuffer {
			t.Errorf("%d events fetched ahead, want at most %d", n, cfg.PullBuffer)
		}
		settle(t, b, event.Verdict{Action: event.Ack}, held...)
		for range 39 {
			d := pullN(t, b, 1)[0]
			if d.Attempt != 1 {
				t.Errorf("event %d lost an attempt: %d", d.Sequence, d.Attempt)
			}
			settle(t, b, event.Verdict{Action: event.Ack}, d)
		}
		floorReaches(t, b, 40)
	})
}

func TestPullReturnsWhatIsThere(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		cfg.PullBuffer = 8
		b := open(t, cfg)
		const n = 100
		publishN(t, b, n)
		next := uint64(1)
		for next <= n {
			ds, err := b.Pull(within(t, 30*time.Second), 5)
			if err != nil || len(ds) == 0 || len(ds) > 5 {
				t.Fatalf("Pull = %d deliveries, %v", len(ds), err)
			}
			for _, d := range ds {
				if d.Sequence != next {
					t.Fatalf("sequence %d, want %d", d.Sequence, next)
				}
				next++
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("the worker stops")
		cancel(gone)
		if _, err := b.Pull(ctx, 1); !errors.Is(err, gone) {
			t.Errorf("Pull with nothing to come: %v", err)
		}
	})
}

func TestStopPulling(t *testing.T) {
	onBackends(t, func(t *testing.T, cfg Config) {
		b := open(t, cfg)
		publishN(t, b, 20)
		got := len(pullN(t, b, 3))
		if err := b.StopPulling(within(t, 5*time.Second)); err != nil {
			t.Fatal(err)
		}
		publish(t, b, envelope("late"))
		for {
			ds, err := b.Pull(within(t, 5*time.Second), 4)
			if errors.Is(err, event.ErrStopped) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got += len(ds)
		}
		// What was not returned comes to the next that pulls. The broker may have
		// been sending a few when the pull ended; it counts those as attempts.
		info, err := b.topo.now().processors.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unsent := info.NumAckPending - got
		next := pull.New(pull.Config{
			Conn: b.conns.consume, Stream: eventsStream, Consumer: processors, Limit: 32, AckWait: cfg.AckWait,
			Refused: func(why string) { t.Errorf("refused: %s", why) },
		})
		b.life.start("next", next.Run)
		for got < 21 {
			ms, err := next.Take(within(t, 5*time.Second), 21)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range ms {
				got++
				if a, _ := parseAckSubject(m.Reply); a.deliveries != 1 {
					unsent--
				}
			}
		}
		if unsent < 0 {
			t.Errorf("%d events more than were on their way have lost an attempt", -unsent)
		}
		if _, err := b.PullAdvisories(t.Context(), 1); !errors.Is(err, event.ErrStopped) {
			t.Errorf("PullAdvisories: %v", err)
		}
	})
}

func TestMessageThatIsNoEnvelope(t *testing.T) {
	t.Parallel()
	b := open(t, testConfig(t))
	if _, err := b.conns.js.Publish(t.Context(), "events.demo", []byte("who am I")); err != nil {
		t.Fatal(err)
	}
	d := pullN(t, b, 1)[0]
	if d.Fault == nil || d.Sequence != 1 || string(d.Body) != "who am I" {
		t.Errorf("delivery %+v", d)
	}
}

// TestWaitingDeliveriesAreKeptAliveInTime receives the signals for a delivery that
// waits to be pulled: never may more than half of its acknowledgement wait pass
// without one, although a caller that pulls it then takes a fifth until the next.
func TestWaitingDeliveriesAreKeptAliveInTime(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.AckWait = 2 * time.Second
	b := open(t, cfg)
	signals, err := b.conns.admin.SubscribeSync("$JS.ACK." + eventsStream + "." + processors + ".>")
	if err != nil {
		t.Fatal(err)
	}
	publishN(t, b, 2)
	settle(t, b, event.Verdict{Action: event.Ack}, pullN(t, b, 1)...) // the second one comes along and waits
	before := time.Now()
	for heard := 0; heard < 8; {
		m, err := signals.NextMsgWithContext(within(t, 30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		a, ok := parseAckSubject(m.Subject)
		if a.seq == 1 {
			continue // its acknowledgement
		}
		if !ok || a.seq != 2 || string(m.Data) != string(answerInProgress) {
			t.Fatalf("heard %s %q", m.Subject, m.Data)
		}
		heard++
		if gap := time.Since(before); gap > cfg.AckWait/2 {
			t.Errorf("%v passed without a signal, want %v at most", gap, cfg.AckWait/2)
		}
		before = time.Now()
	}
}
