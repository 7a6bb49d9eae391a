package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// publicKeys keep the couriers' public keys fresh: one source for each address,
// which outlives a reload of the couriers that use it.
type publicKeys struct {
	log *slog.Logger

	mu    sync.Mutex
	held  map[string]*heldKeys
	ended bool
}

// heldKeys is a source that is being kept fresh.
type heldKeys struct {
	*jwks.Source
	stop    context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	problem string // of the last load, "" when it went well
}

func newPublicKeys(log *slog.Logger) *publicKeys {
	return &publicKeys{log: log, held: map[string]*heldKeys{}}
}

// source returns the keys at an address, and begins to keep them fresh at the first call
// for it. Another call lets them be loaded again soon: a reload of the couriers may mean
// that a key was withdrawn.
func (k *publicKeys) source(address string) (*jwks.Source, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[address]; h != nil {
		h.Renew()
		return h.Source, nil
	}
	source, err := jwks.At(address)
	if err != nil || k.ended {
		return source, err
	}
	ctx, stop := context.WithCancel(context.Background())
	h := &heldKeys{Source: source, stop: stop, stopped: make(chan struct{})}
	k.held[address] = h
	go func() {
		defer close(h.stopped)
		source.Run(ctx, func(err error) { k.report(h, address, err) })
	}()
	return source, nil
}

// report keeps and logs the outcome of a load.
func (k *publicKeys) report(h *heldKeys, address string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.problem = err.Error()
		k.log.Warn("can't load a courier's public keys, trying again", "jwks", address, "error", err)
		return
	}
	if count, _ := h.Keys(); h.problem != "" || k.log.Enabled(context.Background(), slog.LevelDebug) {
		k.log.Info("public keys loaded", "jwks", address, "keys", count)
	}
	h.problem = ""
}

// state returns what is known of the keys at an address.
func (k *publicKeys) state(address string) (count int, loaded time.Time, problem string) {
	k.mu.Lock()
	h := k.held[address]
	k.mu.Unlock()
	if h == nil {
		return 0, time.Time{}, ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	count, loaded = h.Keys()
	return count, loaded, h.problem
}

// retain gives up the sources that no courier uses any more.
func (k *publicKeys) retain(couriers map[string]config.Courier) {
	used := map[string]bool{}
	for _, c := range couriers {
		used[c.JWKS] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for address, h := range k.held {
		if !used[address] {
			h.stop()
			delete(k.held, address)
		}
	}
}

// close stops every source and returns when they have ended.
func (k *publicKeys) close(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	for _, h := range k.held {
		h.stop()
		select {
		case <-h.stopped:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
