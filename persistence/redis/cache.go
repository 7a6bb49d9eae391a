// Package redis is the cache in a Redis, which several workers share. [New] takes its
// settings; identities come in and the hashes of their bodies go out. Package
// appliance/app opens it, package process uses it.
//
//	prefix courier ":" key  →  hash of the body, for the TTL
package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/persistence"
)

// Cache is the cache in a Redis.
//
// A breaker keeps a slow or unreachable Redis from slowing the workers: after some
// failures in a row it opens and every call fails at once, while a goroutine probes Redis
// and closes the breaker when Redis answers.
type Cache struct {
	config  Config
	client  *redis.Client
	metrics *metrics
	close   func() error

	failures atomic.Int64 // in a row
	open     atomic.Bool
	opened   chan struct{} // wakes closeBreaker
}

var _ persistence.Cache = (*Cache)(nil)

// New returns a cache that has probed Redis once, within ctx; its breaker is open when
// there was no answer. It fails for a configuration that can't work.
func New(ctx context.Context, c Config) (*Cache, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("redis cache: %w", err)
	}
	o, err := c.options()
	if err != nil {
		return nil, fmt.Errorf("redis cache: %w", err)
	}
	metrics, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("redis cache: %w", err)
	}
	redis.SetLogger(discard{})
	r := &Cache{config: c, client: redis.NewClient(o), metrics: metrics, opened: make(chan struct{}, 1)}
	if err := r.probe(ctx); err != nil {
		r.openBreaker(err)
	} else {
		metrics.healthy.Set(1)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { r.closeBreaker(background) })
	r.close = sync.OnceValue(func() error {
		stop()
		running.Wait()
		return r.client.Close()
	})
	return r, nil
}

// discard is a logger for the client, which has one for the whole process. What it would
// log about failing connections is returned as errors too.
type discard struct{}

func (discard) Printf(context.Context, string, ...any) {}

// Lookup implements [persistence.Cache] with one MGET. While Redis can't be reached, every
// identity is unknown, and there is an error.
func (r *Cache) Lookup(ctx context.Context, ids []event.Identity) ([]string, error) {
	hashes := make([]string, len(ids))
	if len(ids) == 0 {
		return hashes, nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = r.key(id)
	}
	err := r.do(ctx, "lookup", func(ctx context.Context) error {
		values, err := r.client.MGet(ctx, keys...).Result()
		for i := range values {
			hashes[i], _ = values[i].(string)
		}
		return err
	})
	return hashes, err
}

// Store implements [persistence.Cache] with one pipeline of SETs.
func (r *Cache) Store(ctx context.Context, ids []event.Identity, bodyHashes []string) error {
	if len(ids) == 0 {
		return nil
	}
	return r.do(ctx, "store", func(ctx context.Context) error {
		pipe := r.client.Pipeline()
		for i, id := range ids {
			pipe.Set(ctx, r.key(id), bodyHashes[i], r.config.TTL)
		}
		_, err := pipe.Exec(ctx)
		return err
	})
}

func (r *Cache) key(id event.Identity) string {
	return r.config.Prefix + id.Courier + ":" + id.Key
}

// Ping implements [persistence.Cache].
func (r *Cache) Ping(ctx context.Context) error {
	return r.do(ctx, "ping", func(ctx context.Context) error { return r.client.Ping(ctx).Err() })
}

// Close implements [persistence.Cache].
func (r *Cache) Close() error {
	r.open.Store(true)
	return r.close()
}

// Name implements [persistence.Cache].
func (r *Cache) Name() string { return "redis" }

var errBreakerOpen = errors.New("no answer from Redis, which is probed until it answers")

// do runs an operation in its time, unless the breaker is open.
func (r *Cache) do(ctx context.Context, op string, fn func(context.Context) error) error {
	if r.open.Load() {
		return &event.Error{Code: event.DependencyDown, Op: "redis " + op, Err: errBreakerOpen}
	}
	limited, cancel := context.WithTimeout(ctx, r.config.OperationTimeout)
	defer cancel()
	err := fn(limited)
	switch {
	case err == nil:
		r.failures.Store(0)
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return &event.Error{Code: event.Interrupted, Op: "redis " + op, Err: err}
	}
	r.metrics.failures.WithLabelValues(op).Inc()
	if r.failures.Add(1) >= int64(r.config.MaxFailures) {
		r.openBreaker(err)
	}
	return &event.Error{Code: event.DependencyDown, Op: "redis " + op, Err: err}
}

// openBreaker has every call fail until Redis answers.
func (r *Cache) openBreaker(cause error) {
	if r.open.CompareAndSwap(false, true) {
		r.metrics.healthy.Set(0)
		r.config.Log.Warn("cache is out of reach, the ledger answers instead", "cache", r.Name(), "error", cause)
		r.opened <- struct{}{}
	}
}

// closeBreaker probes Redis while the breaker is open and closes it when Redis answers.
func (r *Cache) closeBreaker(ctx context.Context) {
	tick := time.NewTicker(r.config.ProbeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.opened:
		}
		for answered := false; !answered; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				answered = r.probe(ctx) == nil
			}
		}
		r.failures.Store(0)
		r.open.Store(false)
		r.metrics.healthy.Set(1)
		r.config.Log.Info("cache is back", "cache", r.Name())
	}
}

// probe makes the requests that operations make, within their time, once there is a
// connection. With pings alone, a Redis that answers too late or refuses writes would
// close the breaker, and the next calls would open it again and again.
func (r *Cache) probe(ctx context.Context) error {
	connecting, cancel := context.WithTimeout(ctx, r.config.ConnectTimeout+r.config.OperationTimeout)
	defer cancel()
	if err := r.client.Ping(connecting).Err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, r.config.OperationTimeout)
	defer cancel()
	pipe, key := r.client.Pipeline(), r.config.Prefix+"probe" // an identity's key has a colon
	pipe.Set(limited, key, "", r.config.TTL)
	pipe.MGet(limited, key)
	_, err := pipe.Exec(limited)
	return err
}
