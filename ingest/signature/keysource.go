package signature

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// KeySourceConfig says where public keys come from and how long they count.
type KeySourceConfig struct {
	Load   func(context.Context) ([]byte, error) // returns a whole JWKS, see [Loader]
	Every  time.Duration                         // from one load to the next, positive
	Retry  time.Duration                         // at least this long between loads, also when one has failed or a key is unknown; positive, at most Every
	MaxAge time.Duration                         // keys no longer count this long after the load that brought them; more than Every
	Now    func() time.Time
}

// KeySource holds the public keys of a JWKS. Verify reads them from memory, and
// waits for nothing; [KeySource.Run] keeps them fresh. Without keys, or with ones
// that are too old, it fails closed. It is safe for concurrent use.
type KeySource struct {
	cfg    KeySourceConfig
	set    atomic.Pointer[keySet]
	wanted chan struct{} // has an item when somebody missed a key
}

// NewKeySource returns a source that has no keys yet.
func NewKeySource(cfg KeySourceConfig) (*KeySource, error) {
	if cfg.Load == nil || cfg.Now == nil {
		return nil, errors.New("a key source needs something to load from and a clock")
	}
	if cfg.Retry <= 0 || cfg.Every < cfg.Retry || cfg.MaxAge <= cfg.Every {
		return nil, fmt.Errorf("a key source needs 0 < retry <= every < max age, has %v, %v and %v", cfg.Retry, cfg.Every, cfg.MaxAge)
	}
	return &KeySource{cfg: cfg, wanted: make(chan struct{}, 1)}, nil
}

// Refresh loads the keys once. On error those from before stay, for as long as
// they count; an empty set is no error of the document and replaces them, but is
// reported.
func (k *KeySource) Refresh(ctx context.Context) error {
	select {
	case <-k.wanted:
	default:
	}
	document, err := k.cfg.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the JWKS: %w", err)
	}
	set, err := parseJWKS(document)
	if err != nil {
		return fmt.Errorf("read the JWKS: %w", err)
	}
	set.loaded = k.cfg.Now()
	k.set.Store(set)
	if len(set.all) == 0 {
		return errors.New("read the JWKS: it has no RSA key for signatures, so nothing can be verified by it")
	}
	return nil
}

// Run refreshes the keys until ctx is done: at once if there are none, then as
// the config says, and earlier when a request names a key that is not there.
// Report gets the outcome of every load; nil is success.
func (k *KeySource) Run(ctx context.Context, report func(error)) {
	wait := k.cfg.Every
	if k.set.Load() == nil {
		wait = 0
	}
	for k.pause(ctx, wait) {
		err := k.Refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if wait = k.cfg.Every; err != nil {
			wait = k.cfg.Retry
		}
		report(err)
	}
}

// pause waits for its time or, but not before Retry is over, until a key is
// missed. It reports false when ctx is done.
func (k *KeySource) pause(ctx context.Context, wait time.Duration) bool {
	short := min(wait, k.cfg.Retry)
	if !sleep(ctx, short, nil) {
		return false
	}
	return sleep(ctx, wait-short, k.wanted)
}

// sleep waits, at most until something wakes it. It reports false when ctx is done.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
		return true
	case <-t.C:
		return ctx.Err() == nil
	}
}

// Keys returns how many keys there are, and when they were loaded; the zero time
// is never.
func (k *KeySource) Keys() (count int, loaded time.Time) {
	if set := k.set.Load(); set != nil {
		return len(set.all), set.loaded
	}
	return 0, time.Time{}
}

var (
	noKeys     = &Failure{Kind: NoKeys, text: "the sender's public keys can't be had at the moment; send it again"}
	unknownKey = &Failure{Kind: UnknownKey, text: "the signature is by a key that is not among the sender's public keys"}
)

// find returns the keys of that id; every key for nil.
func (k *KeySource) find(id []byte, now time.Time) ([]*key, *Failure) {
	set := k.set.Load()
	if set == nil || len(set.all) == 0 || now.Sub(set.loaded) > k.cfg.MaxAge {
		k.Renew()
		return nil, noKeys
	}
	if id == nil {
		return set.all, nil
	}
	keys := set.byID[string(id)]
	if len(keys) == 0 {
		k.Renew()
		return nil, unknownKey
	}
	return keys, nil
}

// Renew has [KeySource.Run] load the keys anew as soon as Retry allows, and waits for
// nothing. A request does so that misses a key, and whoever knows that the JWKS has
// changed.
func (k *KeySource) Renew() {
	select {
	case k.wanted <- struct{}{}:
	default:
	}
}
