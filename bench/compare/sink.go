package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// sink stores the bodies of events.
type sink interface {
	// store returns when the body is stored as safely as the sink can. It does not
	// use body afterwards.
	store(ctx context.Context, body []byte) error
	close()
}

func newSink(ctx context.Context, cfg serveConfig) (sink, error) {
	switch cfg.sink {
	case sinkNone:
		return discard{}, nil
	case sinkXADD, sinkPipelined:
	default:
		return nil, usage{fmt.Errorf("--sink %q is none of %s, %s, %s", cfg.sink, sinkNone, sinkXADD, sinkPipelined)}
	}
	if cfg.redis == "" || cfg.pool < 1 {
		return nil, usage{fmt.Errorf("--sink %s needs --redis and a --pool of 1 at least", cfg.sink)}
	}
	client := redis.NewClient(&redis.Options{
		Addr: cfg.redis, PoolSize: cfg.pool, PoolTimeout: ioTimeout,
		ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		MaxRetries: -1, // an event that is added twice would be stored twice
	})
	if err := flushesEachWrite(ctx, client); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	if cfg.sink == sinkXADD {
		return &byXADD{client}, nil
	}
	return newPipelined(client), nil
}

// flushesEachWrite fails unless the Redis server flushes every write to disk
// before it answers.
func flushesEachWrite(ctx context.Context, client *redis.Client) error {
	for setting, want := range map[string]string{"appendonly": "yes", "appendfsync": "always"} {
		got, err := client.ConfigGet(ctx, setting).Result()
		if err != nil {
			return fmt.Errorf("ask Redis for %s: %w", setting, err)
		}
		if got[setting] != want {
			return fmt.Errorf("%s is %s in this Redis, which makes the comparison meaningless: set it to %s", setting, got[setting], want)
		}
	}
	return nil
}

// discard stores nothing.
type discard struct{}

func (discard) store(context.Context, []byte) error { return nil }
func (discard) close()                              {}

// stream is the key of the Redis stream.
const stream = "events"

func addition(body []byte) *redis.XAddArgs {
	return &redis.XAddArgs{Stream: stream, Values: []any{"body", body}}
}

// byXADD adds each event by a command of its own, over a pool of connections.
type byXADD struct{ client *redis.Client }

func (k *byXADD) store(ctx context.Context, body []byte) error {
	return k.client.XAdd(ctx, addition(body)).Err()
}

func (k *byXADD) close() { _ = k.client.Close() } // everything that counts was answered

// Bounds of the pipelines.
const (
	pipelines   = 2 // under way at once: one is flushed while the next one gathers
	pipelineMax = 1000
)

// pipelined adds all events that wait by one round trip, as a careful user of
// Redis would.
type pipelined struct {
	client  *redis.Client
	waiting chan *addend
	running sync.WaitGroup
	addends sync.Pool
}

// addend is an event on its way to Redis.
type addend struct {
	body  []byte
	added chan error
}

func newPipelined(client *redis.Client) *pipelined {
	k := &pipelined{client: client, waiting: make(chan *addend, pipelineMax)}
	k.addends.New = func() any { return &addend{added: make(chan error, 1)} }
	for range pipelines {
		k.running.Go(k.run)
	}
	return k
}

func (k *pipelined) store(_ context.Context, body []byte) error {
	a := k.addends.Get().(*addend)
	a.body = body
	k.waiting <- a
	err := <-a.added
	a.body = nil
	k.addends.Put(a)
	return err
}

// close ends the pipelines. Nothing may be stored any more.
func (k *pipelined) close() {
	close(k.waiting)
	k.running.Wait()
	_ = k.client.Close() // everything that counts was answered
}

func (k *pipelined) run() {
	var batch []*addend
	for first := range k.waiting {
		batch = k.add(k.gather(append(batch[:0], first)))
	}
}

// gather takes what else is waiting.
func (k *pipelined) gather(batch []*addend) []*addend {
	for len(batch) < pipelineMax {
		select {
		case a, more := <-k.waiting:
			if !more {
				return batch
			}
			batch = append(batch, a)
		default:
			return batch
		}
	}
	return batch
}

// add adds a batch and reports the result to each of its events.
func (k *pipelined) add(batch []*addend) []*addend {
	ctx, cancel := context.WithTimeout(context.Background(), 2*ioTimeout)
	defer cancel()
	pipe := k.client.Pipeline()
	for _, a := range batch {
		pipe.XAdd(ctx, addition(a.body))
	}
	replies, err := pipe.Exec(ctx)
	for i, a := range batch {
		if i < len(replies) {
			a.added <- replies[i].Err()
		} else {
			a.added <- err
		}
	}
	return batch
}
