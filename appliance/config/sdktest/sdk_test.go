// Package sdktest holds our verification against the senders' own Go libraries. It has tests
// only, and is a room of its own so that the libraries stay out of every other binary.
//
//	sender ──signs──▶ request ──mutation──▶ bytes ──▶ net/http ──▶ the sender's library ──┐
//	                                          └─────▶ ingest, as it listens ──▶ queue ────┴▶ compared
//
// What we accept has to be what was signed, event and body, whatever the library says. Where
// the two differ, the sender's list of differences has the reason.
package sdktest

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/EasyPost/easypost-go/v5"
	"github.com/google/go-github/v84/github"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v82/webhook"
	svix "github.com/svix/svix-webhooks/go"
	"golang.org/x/text/unicode/norm"

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

// sender is a preset with the library that its sender publishes.
type sender struct {
	preset  string
	secret  string
	prefix  string // of the headers of Standard Webhooks, by which the sender signs
	names   names
	key     func(secret string) []byte               // of the HMAC
	text    func(mac []byte, c content) string       // of the header that has the signature
	signed  func(c content) []byte                   // the message
	check   func(r *http.Request, body []byte) error // the library
	differs differences
}

// differences says why we refuse what the library accepts, or accept what it refuses, by the
// kind of the mutation: "refuse, header doubled".
type differences map[string]string

// and returns the differences with others.
func (d differences) and(more differences) differences {
	all := maps.Clone(d)
	maps.Copy(all, more)
	return all
}

const (
	unpadded    = "base64 without its padding is the same bytes"
	asWritten   = "the time is signed as it is written; the library writes its number again and signs that"
	bothNames   = "senders by Svix may use its names: ours are both taken, as Svix's libraries do"
	otherFields = "what the header has besides t and v1 does not matter"
	tooMany     = "a list is bounded: no sender has 64 secrets, and a stranger's list must cost little"
)

// ofAll are the differences from every library: what several readers could read in different
// ways is refused.
var ofAll = differences{
	"refuse, header doubled": "the library takes the first; another reader, as a proxy, may take the last",
	"refuse, folded headers": "RFC 9112, section 5.2, has servers refuse them",
}

// ofContent is a difference from the libraries that do not look at the content type.
var ofContent = differences{"refuse, content type of no JSON": "what says that it is something else is refused before it is read"}

// ofUnsigned is a difference where there are headers that no signature covers.
var ofUnsigned = differences{"refuse, space behind a header's name": "RFC 9112, section 5.1, has servers refuse it; net/http takes it for another header"}

var ofWebhooks = ofAll.and(ofContent).and(differences{
	"refuse, values joined":                       "the library leaves out what is behind a second comma",
	"refuse, values joined, another last":         "the library leaves out what is behind a second comma",
	"accept, value cut":                           unpadded,
	"accept, white space inside":                  unpadded,
	"accept, signature as base64 without padding": unpadded,
	"refuse, one signature of more than 64":       tooMany,
	"refuse, time in another form, not signed":    asWritten,
	"accept, time in another form, signed so":     asWritten,
})

var ofStandard = ofWebhooks.and(ofUnsigned).and(differences{
	"accept, headers of the other name alone":                 bothNames,
	"accept, headers of the other name, beside our timestamp": bothNames,
	"accept, headers of the other name, beside our signature": bothNames,
	"accept, headers of the other name, beside an empty one":  bothNames,
})

var ofSvix = ofWebhooks.and(differences{
	"refuse, headers of the other name, beside our id": "the library goes on to webhook-id; a mapping that names the event by svix-id would take one that is not signed",
})

var ofStripe = ofAll.and(ofContent).and(differences{
	"refuse, a time ahead, signed":                "the library has no bound ahead, so that a request signed ahead of its time could be sent again until then",
	"refuse, time twice":                          "the library takes the last; another reader may take the first",
	"refuse, values joined":                       "the header has the time twice then",
	"accept, values joined":                       otherFields,
	"accept, values joined, another first":        otherFields,
	"accept, values joined, another last":         otherFields,
	"accept, something that is no field":          otherFields,
	"accept, one signature beside something else": otherFields,
	"accept, signature as a comma behind":         otherFields,
	"accept, space at a comma":                    "a space behind a comma is how lists in headers are written",
	"accept, list by something else":              "a space behind a comma is how lists in headers are written",
	"refuse, one signature of more than 64":       tooMany,
	"refuse, time in another form, not signed":    asWritten,
	"accept, time in another form, signed so":     asWritten,
	"refuse, time in another form, signed so":     "the library has no bound ahead, and takes milliseconds for seconds",
})

var ofGitHub = ofAll.and(ofUnsigned).and(differences{
	"accept, another content type":          "JSON is known by what it is; the library takes two types only",
	"refuse, by an algorithm that is named": "GitHub signs by SHA-256; who could choose could choose SHA-1",
})

var ofEasyPost = ofAll.and(ofContent).and(differences{
	"accept, form, signed":                   "a form is read by any courier; the library reads the body as JSON",
	"accept, signature as hex in upper case": "hex in either case is the same bytes",
	"accept, signature as hex in both cases": "hex in either case is the same bytes",
})

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

func bytesOf(text string) []byte { return []byte(text) }

// afterPrefix reads a secret of Standard Webhooks.
func afterPrefix(secret string) []byte {
	key, _ := base64.StdEncoding.DecodeString(string(bytes.TrimPrefix([]byte(secret), []byte("whsec_"))))
	return key
}

// webhooks is a sender by Standard Webhooks.
func webhooks(preset, prefix string, check func(r *http.Request, body []byte) error, differs differences) sender {
	return sender{
		preset: preset, secret: webhookSecret, key: afterPrefix, check: check, prefix: prefix,
		names:   names{prefix + "signature", prefix + "id", prefix + "timestamp"},
		text:    func(mac []byte, _ content) string { return "v1," + base64.StdEncoding.EncodeToString(mac) },
		signed:  func(c content) []byte { return fmt.Appendf(nil, "%s.%s.%s", c.id, c.time, c.body) },
		differs: differs,
	}
}

const (
	webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	plainSecret   = "s\u00e9cret \ufb01\u2460 of 24 bytes"
	asciiSecret   = "a secret of 24 bytes, 01"
)

// senders are the presets whose senders publish a Go library that verifies.
func senders(t *testing.T) []sender {
	standard, err := standardwebhooks.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	branded, err := svix.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	byStandard := func(r *http.Request, body []byte) error { return standard.Verify(body, r.Header) }
	bySvix := func(r *http.Request, body []byte) error { return branded.Verify(body, r.Header) }
	hexBody := func(preset, secret, header, prefix string, differs differences, check func(r *http.Request, body []byte) error) sender {
		return sender{
			preset: preset, secret: secret, names: names{signature: header}, key: bytesOf, check: check,
			text:    func(mac []byte, _ content) string { return prefix + hex.EncodeToString(mac) },
			signed:  func(c content) []byte { return c.body },
			differs: differs,
		}
	}
	easypostSender := hexBody("easypost", plainSecret, "X-Hmac-Signature", "hmac-sha256-hex=", ofEasyPost, func(r *http.Request, body []byte) error {
		headers := map[string]any{}
		for name := range r.Header {
			headers[name] = r.Header.Get(name)
		}
		_, err := easypost.New("").ValidateWebhook(body, headers, plainSecret)
		return err
	})
	easypostSender.key = func(secret string) []byte { return norm.NFKD.Bytes([]byte(secret)) }
	return []sender{
		webhooks("standard-webhooks", "webhook-", byStandard, ofStandard),
		webhooks("shipbob", "webhook-", byStandard, ofStandard),
		webhooks("svix", "svix-", bySvix, ofSvix),
		{
			preset: "stripe", secret: asciiSecret, names: names{signature: "Stripe-Signature"}, key: bytesOf,
			text:   func(mac []byte, c content) string { return "t=" + c.time + ",v1=" + hex.EncodeToString(mac) },
			signed: func(c content) []byte { return fmt.Appendf(nil, "%s.%s", c.time, c.body) },
			check: func(r *http.Request, body []byte) error {
				return webhook.ValidatePayload(body, r.Header.Get("Stripe-Signature"), asciiSecret)
			},
			differs: ofStripe,
		},
		hexBody("github", asciiSecret, "X-Hub-Signature-256", "sha256=", ofGitHub, func(r *http.Request, body []byte) error {
			r.Body = io.NopCloser(bytes.NewReader(body))
			_, err := github.ValidatePayload(r, []byte(asciiSecret))
			return err
		}),
		easypostSender,
	}
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
		t.Run(s.preset, func(t *testing.T) {
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
				err := s.library(raw)
				if ours {
					accepted++
				}
				if published == nil && strings.HasPrefix(answer, "2") && bytes.Equal(m.request.body, c.body) {
					t.Errorf("%s, %s: the event is ignored", m.kind, m.name)
				}
				if published != nil {
					m.checkCovered(t, published, first.EventID, first.Key, c, now)
				}
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
