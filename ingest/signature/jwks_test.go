package signature

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// publisher is a sender's place of keys.
type publisher struct {
	mu       sync.Mutex
	document []byte
	err      error
	loads    int
}

func (p *publisher) load(context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loads++
	return p.document, p.err
}

func (p *publisher) set(document []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.document, p.err = document, err
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loads
}

func TestKeySourceRun(t *testing.T) {
	first, both, second := jwksOf("new"), jwksOf("new", "old"), jwksOf("old") // made outside: that takes real time
	rsaSender := sender{config: Config{Scheme: "rsa", KeyIDHeader: "kid", Signature: Place{Names: []string{"s"}}, JWKS: "file:x"}}
	byNew, byOld := rsaSender.signer(t, "new"), rsaSender.signer(t, "old")
	synctest.Test(t, func(t *testing.T) {
		p := &publisher{err: errors.New("the line is dead")}
		k, err := jwks.NewSource(jwks.Config{Load: p.load, Every: time.Hour, Retry: time.Minute, MaxAge: 3 * time.Hour, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		var reports []error
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Run(ctx, func(err error) { reports = append(reports, err) })
		}()
		c := rsaSender.config
		c.Keys = k
		s := compile(t, c)
		newer, older := signed(t, byNew, payload, noon), signed(t, byOld, payload, noon)
		after := func(d time.Duration, loads int, want [2]Kind, what string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if p.count() != loads {
				t.Errorf("%s: loaded %d times, want %d", what, p.count(), loads)
			}
			outcome(t, what+", new key", s, newer, time.Now(), "new", want[0])
			outcome(t, what+", old key", s, older, time.Now(), "old", want[1])
		}
		after(0, 1, [2]Kind{NoKeys, NoKeys}, "at first, without keys")
		p.set(first, nil)
		after(59*time.Second, 1, [2]Kind{NoKeys, NoKeys}, "before it is tried again")
		after(time.Second, 2, [2]Kind{accepted, UnknownKey}, "once there is a key") // and one is missed
		p.set(both, nil)
		after(59*time.Second, 2, [2]Kind{accepted, UnknownKey}, "a key is missed, but not so fast")
		after(time.Second, 3, [2]Kind{accepted, accepted}, "the missed key came")
		after(59*time.Minute, 3, [2]Kind{accepted, accepted}, "before the hour is over")
		p.set(second, nil)
		after(time.Minute, 4, [2]Kind{UnknownKey, Mismatch}, "one key is withdrawn") // the test keys change places
		p.set(nil, errors.New("the line is dead"))
		after(time.Minute, 5, [2]Kind{UnknownKey, Mismatch}, "a failure keeps the keys")
		p.set([]byte(`{"keys":[]}`), nil)
		after(time.Minute, 6, [2]Kind{NoKeys, NoKeys}, "an empty set counts")
		p.set(both, nil)
		after(time.Minute, 7, [2]Kind{accepted, accepted}, "the keys are back")
		p.set(nil, errors.New("the line is dead"))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		outcome(t, "keys that are old", s, newer, time.Now(), "new", accepted)
		outcome(t, "keys that are too old", s, newer, time.Now().Add(time.Second), "", NoKeys)
		if count, loaded := k.Keys(); count != 2 || time.Since(loaded) != 3*time.Hour {
			t.Errorf("has %d keys since %v", count, loaded)
		}
		cancel()
		<-done
		for i, text := range []string{"dead", "", "", "", "dead", "no RSA key", "", "dead"} {
			if i >= len(reports) || (reports[i] == nil) != (text == "") || reports[i] != nil && !strings.Contains(reports[i].Error(), text) {
				t.Errorf("report %d of %v is not %q", i, reports, text)
			}
		}
	})
}
