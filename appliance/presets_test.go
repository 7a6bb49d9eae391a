package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// presetTable is a preset with the courier that it makes.
type presetTable struct {
	config.Preset
	Courier config.Courier
}

// presetTables returns every preset, as a configuration gets it.
func presetTables(t testing.TB) map[string]presetTable {
	t.Helper()
	all, err := config.Presets()
	if err != nil {
		t.Fatal(err)
	}
	document := ""
	for name := range all {
		document += fmt.Sprintf("[couriers.%s]\npreset = %q\n", name, name)
	}
	l := loaded(t, document)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	tables := map[string]presetTable{}
	for name, p := range all {
		tables[name] = presetTable{Preset: p, Courier: l.Couriers[name]}
	}
	return tables
}

// presetRSA makes the key pair of those who sign by RSA, and another one.
var presetRSA = sync.OnceValue(func() (pair [2]*rsa.PrivateKey) {
	for i := range pair {
		var err error
		if pair[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return pair
})

// completed returns the settings with what an operator adds: a secret, which is
// the n-th of its kind. Where the keys come from a JWKS, a test's stands in for
// the sender's.
func completed(t testing.TB, c signature.Config, n int) signature.Config {
	t.Helper()
	if c.JWKS != "" {
		key := presetRSA()[n]
		c.Keys, c.PrivateKey = keysOf(t, key), &signature.PrivateKey{ID: "key-1", Key: key}
		return c
	}
	text := [...]string{"a secret of 24 bytes, 01", "a secret of 24 bytes, 02"}[n]
	switch {
	case c.Scheme == "basic":
		text = "user:" + text
	case c.Scheme == "standard-webhooks":
		text = "whsec_" + base64.StdEncoding.EncodeToString([]byte(text))
	case c.Derive == "hex":
		text = [...]string{"00ff10ab", "00ff10ac"}[n]
	case c.Derive == "base64":
		text = base64.StdEncoding.EncodeToString([]byte(text))
	}
	c.Secrets = []signature.Secret{{ID: "key-1", Key: []byte(text)}}
	return c
}

// keysOf returns a source that has loaded the public part of a key.
func keysOf(t testing.TB, key *rsa.PrivateKey) *jwks.Source {
	t.Helper()
	document, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "kid": "key-1", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	source, err := jwks.NewSource(jwks.Config{
		Load:  func(context.Context) ([]byte, error) { return document, nil },
		Every: time.Hour, Retry: time.Minute, MaxAge: 24 * time.Hour, Now: func() time.Time { return signedAt },
	})
	if err == nil {
		err = source.Refresh(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// signedAt is when every request of these tests was signed and received.
var signedAt = time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)

// compiled compiles a preset that has got a secret.
func compiled(t testing.TB, c *config.Courier, n int) (*signature.Scheme, *payload.Decoder) {
	t.Helper()
	scheme, err := signature.New(completed(t, c.SignatureSettings(), n))
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := payload.NewDecoder(c.Event)
	if err != nil {
		t.Fatal(err)
	}
	return scheme, decoder
}

// TestPresetsReadTheirSenders signs each sender's requests as the sender does,
// verifies them, and reads them at intake and again from the queue.
func TestPresetsReadTheirSenders(t *testing.T) {
	for name, p := range presetTables(t) {
		scheme, decoder := compiled(t, &p.Courier, 0)
		stranger, _ := compiled(t, &p.Courier, 1)
		for _, c := range senderCases(t, name) {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				r := c.sent(t, name, scheme, signedAt)
				if id, err := scheme.Verify(r, signedAt); err != nil || id != "key-1" {
					t.Fatalf("verified by %q, %v", id, err)
				}
				if id, err := stranger.Verify(r, signedAt); err == nil {
					t.Errorf("another secret verifies it, as %q", id)
				}
				var e event.Event
				in := payload.Input{Body: r.body, Headers: r, Received: signedAt}
				if faults := decoder.Decode(in, &e, nil); len(faults) > 0 {
					t.Fatalf("faults: %v", faults)
				}
				checkEvent(t, e, r.body, signedAt, c.Want)
				env := &event.Envelope{EventID: e.ID, Key: e.Key, ReceivedAt: signedAt, Body: r.body}
				var queued event.Event
				if faults := decoder.DecodeQueued(env, &queued, nil); len(faults) > 0 {
					t.Fatalf("faults in the queue: %v", faults)
				}
				checkEvent(t, queued, r.body, signedAt, c.Want)
			})
		}
	}
}

// FuzzPresets lets every preset read any body: what it takes is JSON and names an
// event and a shipment.
func FuzzPresets(f *testing.F) {
	decoders := map[string]*payload.Decoder{}
	for name, p := range presetTables(f) {
		_, decoders[name] = compiled(f, &p.Courier, 0)
		for _, c := range senderCases(f, name) {
			f.Add([]byte(c.Body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		for name, d := range decoders {
			var e event.Event
			faults := d.Decode(payload.Input{Body: body, Headers: &sentRequest{}, Received: signedAt}, &e, nil)
			switch {
			case !bytes.Equal(body, before):
				t.Fatalf("%s changed the body", name)
			case len(faults) > 0:
			case !json.Valid(body) || e.ID == "" || e.Key == "" || e.Type == "" || e.ShipmentID == "" || e.OccurredAt.IsZero():
				t.Errorf("%s reads %q as %+v", name, body, e)
			}
		}
	})
}

// TestPresetsAreComplete holds what people read of a preset against what it does.
func TestPresetsAreComplete(t *testing.T) {
	presets := presetTables(t)
	for name, p := range presets {
		t.Run(name, func(t *testing.T) {
			if !event.ValidCourier(name) || p.CourierName != "" && !event.ValidCourier(p.CourierName) {
				t.Errorf("%q or %q can't name a courier", name, p.CourierName)
			}
			for key, text := range map[string]string{"about": p.About, "setup": p.Setup, "manners": p.Manners} {
				if text == "" || strings.ContainsAny(text, "\n|") {
					t.Errorf("%s is %q, must be one line without a bar", key, text)
				}
			}
			if !strings.HasPrefix(p.Docs, "https://") {
				t.Errorf("docs is %q", p.Docs)
			}
			if needs := p.Courier.JWKS == ""; needs != (p.Secret != "") {
				t.Errorf("secret is %q, and that it needs one is %v", p.Secret, needs)
			}
			wanted := map[bool]int{true: 200, false: 202}[regexp.MustCompile(`\b200\b`).MatchString(p.Manners)]
			if s := p.Courier.SuccessStatus; s != wanted {
				t.Errorf("success_status is %d, and the sender expects %s", s, p.Manners)
			}
			for _, a := range p.Addresses {
				_, errAddress := netip.ParseAddr(a)
				if _, err := netip.ParsePrefix(a); err != nil && errAddress != nil {
					t.Errorf("addresses: %v, %v", err, errAddress)
				}
			}
			states := map[bool]int{}
			for _, c := range senderCases(t, name) {
				states[c.Want.State == shipment.Unknown]++
			}
			if states[true] == 0 || states[false] == 0 {
				t.Errorf("%d requests with an unknown state and %d others, want some of each", states[true], states[false])
			}
		})
	}
	files, err := filepath.Glob(senderFixtures + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	slices.Sort(files)
	if names := slices.Sorted(maps.Keys(presets)); !slices.Equal(files, names) {
		t.Errorf("there are presets\n%v\nand requests of\n%v", names, files)
	}
}

// TestKeysAreSigned: who repeats a signed request with something else changed makes no
// other event of it.
func TestKeysAreSigned(t *testing.T) {
	placeholder := regexp.MustCompile(`\{(header:)?([^}]*)\}`)
	for name, p := range presetTables(t) {
		scheme, _ := compiled(t, &p.Courier, 0)
		binding := scheme.Binding()
		if !binding.Body && len(binding.Members) == 0 {
			continue // nothing is
		}
		key := p.Courier.Event.Key
		if len(key) == 0 {
			key = p.Courier.Event.EventID
		}
		for _, m := range placeholder.FindAllStringSubmatch(strings.Join(key, " "), -1) {
			signed := binding.Body || slices.Contains(p.Courier.Timestamp.Names, m[2]) ||
				slices.ContainsFunc(binding.Members, func(member string) bool { return strings.HasPrefix(m[2], member+".") })
			if m[1] != "" {
				signed = slices.Contains(scheme.Headers(), strings.ToLower(m[2]))
			}
			if !signed {
				t.Errorf("%s names its events by %s, which is not signed", name, m[0])
			}
		}
	}
}

func TestUnsignedIDs(t *testing.T) {
	presets := presetTables(t)
	for name, id := range map[string]string{"github": "{header:X-Event}:{id}", "shipbob": "{header:webhook-id}", "easypost": "{id}"} {
		p := presets[name]
		scheme, _ := compiled(t, &p.Courier, 0)
		p.Courier.Event.Key = []string{"{id}", id}
		want := map[string]string{"github": "x-event"}[name]
		if got := p.Courier.UnsignedID(scheme); got != want {
			t.Errorf("%s named by %s: %q is not signed, want %q", name, id, got, want)
		}
	}
}

// TestPresetsOfOnePayloadAgree keeps the mappings alike of those who send the same
// payload and prove it in different ways.
func TestPresetsOfOnePayloadAgree(t *testing.T) {
	presets := presetTables(t)
	for twin, name := range map[string]string{
		"shippo-token": "shippo", "easypost-v2": "easypost", "shipstation": "shipengine", "ups-v2": "ups", "svix": "standard-webhooks",
	} {
		if !reflect.DeepEqual(presets[twin].Courier.Event, presets[name].Courier.Event) {
			t.Errorf("%s and %s read the same payload in different ways", twin, name)
		}
	}
}
