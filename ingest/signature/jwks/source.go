package jwks

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Config says where public keys come from and how long they count.
type Config struct {
	Load   func(context.Context) ([]byte, error) // returns a whole JWKS, see [Loader]
	Every  time.Duration                         // from one load to the next, positive
	Retry  time.Duration                         // at least this long between loads, also when one has failed or a key is unknown; positive, at most Every
	MaxAge time.Duration                         // keys no longer count this long after the load that brought them; more than Every
	Now    func() time.Time
}

// Source holds the public keys of a JWKS. [Source.Find] reads them from memory, and
// waits for nothing; [Source.Run] keeps them fresh. Without keys, or with ones
// that are too old, it finds none. It is safe for concurrent use.
type Source struct {
	cfg    Config
	set    atomic.Pointer[keySet]
	wanted chan struct{} // has an item when a request missed a key
}

// NewSource returns a source that has no keys yet.
func NewSource(cfg Config) (*Source, error) {
	if cfg.Load == nil || cfg.Now == nil {
		return nil, errors.New("a key source needs something to load from and a clock")
	}
	if cfg.Retry <= 0 || cfg.Every < cfg.Retry || cfg.MaxAge <= cfg.Every {
		return nil, fmt.Errorf("a key source needs 0 < retry <= every < max age, has %v, %v and %v", cfg.Retry, cfg.Every, cfg.MaxAge)
	}
	return &Source{cfg: cfg, wanted: make(chan struct{}, 1)}, nil
}

// How often a source made by [At] loads its keys, and for how long they count when they
// can't be loaded any more.
const (
	defaultEvery  = time.Hour
	defaultRetry  = 10 * time.Second
	defaultMaxAge = 24 * time.Hour
)

// At returns a source of the keys at an address that [Loader] knows, with none in it yet.
func At(address string) (*Source, error) {
	load, err := Loader(address)
	if err != nil {
		return nil, err
	}
	return NewSource(Config{Load: load, Every: defaultEvery, Retry: defaultRetry, MaxAge: defaultMaxAge, Now: time.Now})
}

// Refresh loads the keys once. On error those from before stay, for as long as
// they count; an empty set is no error of the document and replaces them, but is
// reported.
func (s *Source) Refresh(ctx context.Context) error {
	select {
	case <-s.wanted:
	default:
	}
	document, err := s.cfg.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the JWKS: %w", err)
	}
	set, err := parse(document)
	if err != nil {
		return fmt.Errorf("read the JWKS: %w", err)
	}
	set.loaded = s.cfg.Now()
	s.set.Store(set)
	if len(set.all) == 0 {
		return errors.New("read the JWKS: it has no RSA key for signatures, so nothing can be verified by it")
	}
	return nil
}

// Run refreshes the keys until ctx is done: at once if there are none, then as
// the config says, and earlier when a request names a key that is not there.
// Report gets the outcome of every load; nil is success.
func (s *Source) Run(ctx context.Context, report func(error)) {
	wait := s.cfg.Every
	if s.set.Load() == nil {
		wait = 0
	}
	for s.pause(ctx, wait) {
		err := s.Refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		if wait = s.cfg.Every; err != nil {
			wait = s.cfg.Retry
		}
		report(err)
	}
}

// pause waits for its time or, but not before Retry is over, until a key is
// missed. It reports false when ctx is done.
func (s *Source) pause(ctx context.Context, wait time.Duration) bool {
	short := min(wait, s.cfg.Retry)
	if !sleep(ctx, short, nil) {
		return false
	}
	return sleep(ctx, wait-short, s.wanted)
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
func (s *Source) Keys() (count int, loaded time.Time) {
	if set := s.set.Load(); set != nil {
		return len(set.all), set.loaded
	}
	return 0, time.Time{}
}

// The errors of [Source.Find].
var (
	ErrNoKeys  = errors.New("there are no public keys, or they are too old")
	ErrUnknown = errors.New("no public key has this id")
)

// Find returns the keys of that id; every key for nil. The keys are not to be changed.
// It does not allocate.
func (s *Source) Find(id []byte, now time.Time) ([]*Public, error) {
	set := s.set.Load()
	if set == nil || len(set.all) == 0 || now.Sub(set.loaded) > s.cfg.MaxAge {
		s.Renew()
		return nil, ErrNoKeys
	}
	if id == nil {
		return set.all, nil
	}
	keys := set.byID[string(id)]
	if len(keys) == 0 {
		s.Renew()
		return nil, ErrUnknown
	}
	return keys, nil
}

// Renew has [Source.Run] load the keys again as soon as Retry allows, and waits for
// nothing. It is called when a request misses a key, and when the JWKS may have changed.
func (s *Source) Renew() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}
