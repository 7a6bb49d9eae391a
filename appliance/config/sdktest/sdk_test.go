// Package sdktest compares our verification with the senders' own Go libraries. It has tests
// only, and is a package of its own so that the libraries are in no other binary.
//
//	sender ──signs──▶ request ──mutation──▶ bytes ──▶ net/http ──▶ the sender's library ──┐
//	                                          └─────▶ ingest, as it listens ──▶ queue ────┴▶ compared
//
// What we accept has to be what was signed, event and body, whatever the library says; that
// is checked of senders without a library, too. Where the two differ, the sender's list of
// differences has the reason.
package sdktest

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v82/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/signature"
)

// atLeast is how many mutations there are of each sender's requests.
const atLeast = 400

// content is what a sender signs.
type content struct {
	id   string
	time string // as it is written in the request
	body []byte
}

// sender is a preset with the library that its sender publishes, if there is one.
type sender struct {
	preset  string
	secret  string
	prefix  string // of the headers of Standard Webhooks, by which the sender signs
	names   names
	fields  bool                                     // the signature is a field of its header, v1=, and the time another, t=
	key     func(secret string) []byte               // of the HMAC
	text    func(mac []byte, c content) string       // of the header that has the signature
	signed  func(c content) []byte                   // the message
	check   func(r *http.Request, body []byte) error // the library; nil for none
	differs differences
}

// names are the headers that the signature is in and covers, "" for none.
type names struct{ signature, id, time string }

// headers signs as the sender does.
func (s *sender) headers(c content) []signature.Header {
	var r request
	if s.names.id != "" {
		r.add(s.names.id, c.id)
	}
	if s.names.time != "" {
		r.add(s.names.time, c.time)
	}
	r.add(s.names.signature, s.text(s.mac(s.secret, s.signed(c)), c))
	return r.headers
}

func (s *sender) mac(secret string, message []byte) []byte {
	mac := hmac.New(sha256.New, s.key(secret))
	mac.Write(message)
	return mac.Sum(nil)
}

// base is the request that is mutated: the first example of the preset.
func (s *sender) base(t *testing.T, now time.Time) (request, content) {
	example := sendertest.Cases(t, s.preset)[0]
	c := content{id: "msg_2a", time: strconv.FormatInt(now.Unix(), 10), body: example.Body}
	r := request{target: "/v1/events/courier/" + s.preset, body: c.body, headers: s.headers(c)}
	for name, value := range example.Headers {
		if r.get(name) == "" {
			r.add(name, value)
		}
	}
	return r, c
}

// library asks the sender's library about a request. What net/http does not read, no
// library sees.
func (s *sender) library(raw []byte) error {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return s.check(r, body)
}

// TestLibrariesSignAndVerify: what the sender's library signs we verify, and what we sign
// it verifies.
func TestLibrariesSignAndVerify(t *testing.T) {
	all := senders(t)
	n, now := start(t, all), time.Now()
	presets := sendertest.Presets(t)
	for _, s := range all {
		base, c := s.base(t, now)
		if s.check == nil {
			continue
		}
		if err := s.library(base.bytes()); err != nil {
			t.Errorf("%s: the library refuses what this test signs: %v", s.preset, err)
		}
		settings := presets[s.preset].Courier.SignatureSettings()
		settings.Secrets = []signature.Secret{{ID: "k", Key: []byte(s.secret)}}
		scheme, err := signature.New(settings)
		if err != nil {
			t.Fatal(err)
		}
		ours := base.clone()
		ours.headers = scheme.Sign(c.body, now)
		if err := s.library(ours.bytes()); err != nil {
			t.Errorf("%s: the library refuses what we sign: %v", s.preset, err)
		}
		if text := s.librarySigned(c, now); text != "" {
			theirs := base.with(s.names.signature, text)
			if ok, _, answer := n.send(t, theirs.bytes()); !ok {
				t.Errorf("%s: what the library signs is answered %s", s.preset, answer)
			}
		}
	}
}

// librarySigned returns the signature that the sender's library makes, "" where it makes none.
func (s *sender) librarySigned(c content, now time.Time) (text string) {
	switch s.preset {
	case "standard-webhooks", "shipbob":
		w, _ := standardwebhooks.NewWebhook(s.secret)
		text, _ = w.Sign(c.id, now, c.body)
	case "svix":
		w, _ := svix.NewWebhook(s.secret)
		text, _ = w.Sign(c.id, now, c.body)
	case "stripe":
		text = webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: c.body, Secret: s.secret, Timestamp: now}).Header
	}
	return text
}

// TestMutations compares us with the library on every mutation.
func TestMutations(t *testing.T) {
	all := senders(t)
	n, now := start(t, all), time.Now()
	for _, s := range all {
		t.Run(s.preset+" by "+s.names.signature, func(t *testing.T) {
			base, c := s.base(t, now)
			_, first, answer := n.send(t, base.bytes())
			if first == nil {
				t.Fatalf("the request itself is answered %s", answer)
			}
			list := s.mutations(t, base, c, now)
			if len(list) < atLeast {
				t.Errorf("there are %d mutations, want %d", len(list), atLeast)
			}
			differed, accepted := map[string]bool{}, 0
			for i := range list {
				m := &list[i]
				raw := m.request.bytes()
				ours, published, answer := n.send(t, raw)
				if ours {
					accepted++
				}
				ignored := published == nil && strings.HasPrefix(answer, "2")
				if ignored && bytes.Equal(m.request.body, c.body) && m.kind != "unsigned header" { // which may name the topic
					t.Errorf("%s, %s: the event is ignored", m.kind, m.name)
				}
				if published != nil {
					m.checkCovered(t, published, first.EventID, first.Key, c, now)
				}
				if s.check == nil {
					continue
				}
				err := s.library(raw)
				if ours == (err == nil) {
					continue
				}
				kind := map[bool]string{true: "accept, ", false: "refuse, "}[ours] + m.kind
				differed[kind] = true
				if s.differs[kind] == "" {
					t.Errorf("%s, %s: we answer %s, the library says %v", kind, m.name, answer, err)
				}
			}
			for kind := range s.differs {
				if !differed[kind] {
					t.Errorf("%s: the library and we agree", kind)
				}
			}
			t.Logf("%d mutations, %d accepted", len(list), accepted)
		})
	}
}

// TestSecretsOfWebhooks: whatever form a secret is given in, the library and we make the same
// key of it, or one of the two refuses it.
func TestSecretsOfWebhooks(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb, 0xff, 0x10}, 10) // 30 bytes, with - and _ in the url-safe alphabet
	plain, safe := base64.StdEncoding.EncodeToString(key), base64.URLEncoding.EncodeToString(key)
	odd := base64.StdEncoding.EncodeToString(key[:29])
	body, at := []byte("{}"), time.Now()
	courier := sendertest.Presets(t)["standard-webhooks"].Courier
	settings := courier.SignatureSettings()
	for secret, want := range map[string]string{
		"whsec_" + plain: "both", plain: "both", "whsec_" + odd: "both",
		"whsec_" + safe: "we", "whsec_" + strings.TrimRight(odd, "="): "we", // one reading of each
		"whsec_" + plain + "\n": "library", // a secret is trimmed where it is read
		"whsec_whsec_" + plain:  "none", "whsec_": "library", "": "library", "WHSEC_" + plain: "none", "whsec_" + plain + " ": "none", "a secret of 24 bytes, 01": "none",
	} {
		settings.Secrets = []signature.Secret{{ID: "k", Key: []byte(secret)}}
		scheme, ours := signature.New(settings)
		library, theirs := standardwebhooks.NewWebhook(secret)
		got := map[[2]bool]string{{true, true}: "both", {true, false}: "we", {false, true}: "library", {}: "none"}[[2]bool{ours == nil, theirs == nil}]
		if got != want {
			t.Errorf("%q is read by %s, want %s: %v, %v", secret, got, want, ours, theirs)
		}
		if got != "both" {
			continue
		}
		headers := http.Header{}
		for _, h := range scheme.Sign(body, at) {
			headers.Set(h.Name, h.Value)
		}
		if err := library.Verify(body, headers); err != nil {
			t.Errorf("%q makes different keys: %v", secret, err)
		}
	}
}
