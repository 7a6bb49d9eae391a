//go:build unix

package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sys/unix"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/jetstream/integrity"
)

// rival is a way to store events durably, to be compared with the others.
type rival struct {
	name string
	open func(b *testing.B) (store func(context.Context, *event.Envelope) error)
}

// BenchmarkRivals compares ways to store events so that they survive a power cut,
// and one that doesn't, all in one process: they take turns, one round each per
// iteration, so that whatever else the machine does meets all of them. It reports
// medians over the rounds, of the rate and the processor time relative to the
// first one. Run it with some 15 rounds: -bench Rivals -benchtime 15x.
func BenchmarkRivals(b *testing.B) {
	for _, callers := range []int{10, 100, 400, 1000} {
		b.Run("callers="+strconv.Itoa(callers), func(b *testing.B) {
			race(b, callers, []rival{
				{"group", func(b *testing.B) func(context.Context, *event.Envelope) error {
					return publishWith(openWith(b, benchConfig(b), testDeps()))
				}},
				{"group-by-natsgo", func(b *testing.B) func(context.Context, *event.Envelope) error {
					deps := testDeps()
					deps.natsgo = true
					return publishWith(openWith(b, benchConfig(b), deps))
				}},
				// For its speed only: each flush would need a descriptor of its own, to
				// get errors.
				{"two-flushes", func(b *testing.B) func(context.Context, *event.Envelope) error {
					broker := open(b, benchConfig(b))
					go broker.publisher.group.Run(b.Context())
					return publishWith(broker)
				}},
				{"2-streams", func(b *testing.B) func(context.Context, *event.Envelope) error { return overStreams(b, 2) }},
				{"4-streams", func(b *testing.B) func(context.Context, *event.Envelope) error { return overStreams(b, 4) }},
				{"atomic-batches", func(b *testing.B) func(context.Context, *event.Envelope) error { return atomicBatches(b, 1) }},
				{"4-atomic-batches", func(b *testing.B) func(context.Context, *event.Envelope) error { return atomicBatches(b, 4) }},
				{"no-flush", func(b *testing.B) func(context.Context, *event.Envelope) error {
					cfg := benchConfig(b)
					cfg.Sync = SyncInterval
					return publishWith(open(b, cfg))
				}},
			})
		})
	}
}

// race runs b.N rounds.
func race(b *testing.B, callers int, rivals []rival) {
	n := max(1000, 25*callers)
	stores := make([]func(context.Context, *event.Envelope) error, len(rivals))
	for i, r := range rivals {
		stores[i] = r.open(b)
		storeMany(b, stores[i], callers, n, "warm")
	}
	rates, costs := make([][]float64, len(rivals)), make([][]float64, len(rivals))
	b.ResetTimer()
	for round := range b.N {
		for turn := range rivals {
			i := (turn + round) % len(rivals)
			runtime.GC()
			used, start := processorTime(b), time.Now()
			storeMany(b, stores[i], callers, n, strconv.Itoa(round))
			rates[i] = append(rates[i], float64(n)/time.Since(start).Seconds())
			costs[i] = append(costs[i], float64(processorTime(b)-used)/float64(n))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates[0]), rivals[0].name+"-events/s")
	b.ReportMetric(median(costs[0])/1000, rivals[0].name+"-cpu-µs")
	for i := 1; i < len(rivals); i++ {
		b.ReportMetric(median(ratios(rates[i], rates[0])), rivals[i].name+"-rate-×")
		b.ReportMetric(median(ratios(costs[i], costs[0])), rivals[i].name+"-cpu-×")
	}
}

func ratios(a, b []float64) []float64 {
	r := make([]float64, len(a))
	for i := range a {
		r[i] = a[i] / b[i]
	}
	return r
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// processorTime is what this process has used of all processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// storeMany stores n events of 330 bytes, four couriers', from a number of
// callers.
func storeMany(b *testing.B, store func(context.Context, *event.Envelope) error, callers, n int, tag string) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			e := envelope("x")
			e.Body = make([]byte, 330)
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				e.Courier, e.Key = "c"+strconv.FormatInt(i%4, 10), tag+"-"+strconv.FormatInt(i, 10)
				if err := store(b.Context(), e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func publishWith(broker *Broker) func(context.Context, *event.Envelope) error {
	return func(ctx context.Context, e *event.Envelope) error {
		_, err := broker.Publish(ctx, e)
		return err
	}
}

// overStreams divides the couriers among several streams, behind one group flush.
func overStreams(b *testing.B, n int) func(context.Context, *event.Envelope) error {
	broker := open(b, benchConfig(b))
	whole := broker.cfg.eventsConfig()
	whole.MaxBytes /= int64(n + 1)
	part := whole
	whole.Subjects = []string{subjectPrefix + "none"}
	if _, err := broker.conns.js.UpdateStream(b.Context(), whole); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		part.Name, part.Subjects = "PART"+strconv.Itoa(i), nil
		for c := i; c < 4; c += n {
			part.Subjects = append(part.Subjects, subjectPrefix+"c"+strconv.Itoa(c))
		}
		if _, err := broker.conns.js.CreateStream(b.Context(), part); err != nil {
			b.Fatal(err)
		}
	}
	// Each stream counts for itself, which the checks of one stream take for losses.
	apart, err := integrity.OpenRecord(b.TempDir(), false, broker.log, broker.m.integrity)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = apart.Close() })
	broker.publisher.record, broker.publisher.receipts = apart, integrity.NewChecker(integrity.Config{}, apart).Receipts()
	return publishWith(broker)
}

// atomicBatches publishes whatever waits as an atomic batch, which the broker
// flushes as a whole with sync always, and has up to underWay of them on their way.
func atomicBatches(b *testing.B, underWay int) func(context.Context, *event.Envelope) error {
	cfg := benchConfig(b)
	cfg.Sync = SyncAlways
	broker := open(b, cfg)
	stream := cfg.eventsConfig()
	stream.AllowAtomicPublish = true
	if _, err := broker.conns.js.UpdateStream(b.Context(), stream); err != nil {
		b.Fatal(err)
	}
	conn, err := broker.conns.dial(b.Context(), "batches")
	if err != nil {
		b.Fatal(err)
	}
	type waiting struct {
		msg  *nats.Msg
		done chan error
	}
	queue := make(chan waiting, 1000)
	ended := make(chan struct{})
	b.Cleanup(func() { close(ended) })
	commit := func(batch []waiting) error {
		id := nuid.Next()
		for i, w := range batch {
			w.msg.Header.Set("Nats-Batch-Id", id)
			w.msg.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
			if i < len(batch)-1 {
				if err := conn.PublishMsg(w.msg); err != nil {
					return err
				}
				continue
			}
			w.msg.Header.Set("Nats-Batch-Commit", "1")
			answer, err := conn.RequestMsg(w.msg, 10*time.Second)
			if err != nil {
				return err
			}
			var ack struct {
				Error *natsjs.APIError `json:"error"`
				Count int              `json:"count"`
			}
			if err := json.Unmarshal(answer.Data, &ack); err != nil || ack.Error != nil || ack.Count != len(batch) {
				return fmt.Errorf("a batch of %d is answered %s", len(batch), answer.Data)
			}
		}
		return nil
	}
	batches := func() {
		var batch []waiting
		for {
			select {
			case w := <-queue:
				batch = append(batch[:0], w)
			case <-ended:
				return
			}
			for more := true; more && len(batch) < 1000; {
				select {
				case w := <-queue:
					batch = append(batch, w)
				default:
					more = false
				}
			}
			err := commit(batch)
			for _, w := range batch {
				w.done <- err
			}
		}
	}
	for range underWay {
		go batches()
	}
	return func(_ context.Context, e *event.Envelope) error {
		w := waiting{&nats.Msg{Subject: subjectPrefix + e.Courier, Data: e.Body, Header: nats.Header{msgIDHeader: {e.MsgID()}}}, make(chan error, 1)}
		e.Headers(func(name, value string) bool { w.msg.Header[name] = []string{value}; return true })
		queue <- w
		return <-w.done
	}
}
