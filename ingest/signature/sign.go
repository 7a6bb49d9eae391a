package signature

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fincart/courier-gateway/ingest/jsontext"
	"github.com/fincart/courier-gateway/ingest/signature/values"
)

// Header is one header of a signed request.
type Header struct{ Name, Value string }

// Draft is a request that is to be signed.
type Draft struct {
	Method  string   // POST when empty
	Path    string   // as it will be sent, without the query
	Headers []Header // those that belong to the signed message; what it lacks is made up
	Body    []byte
}

// Signed is how a [Draft] changes so that it is signed.
type Signed struct {
	Headers []Header // to add
	Query   string   // to add to the address, encoded, such as "token=abc"; empty for none
	Body    []byte   // to send; the draft's own memory unless the signature is in it
}

// Sign returns the headers with which a sender signs body at the time at, for
// schemes that need no more than that: it is [Scheme.SignRequest] for a POST
// without a path. It returns nil when that fails.
func (s *Scheme) Sign(body []byte, at time.Time) []Header {
	signed, _ := s.SignRequest(Draft{Body: body}, at)
	return signed.Headers
}

// ErrNoPrivateKey says that a scheme signs by a private key, and its config has
// none. The error of [Scheme.SignRequest] wraps it.
var ErrNoPrivateKey = errors.New("signing needs the private key")

// SignRequest signs as a sender does at the time at: by the preferred algorithm,
// and by the first secret that is valid then, or by the private key.
func (s *Scheme) SignRequest(d Draft, at time.Time) (Signed, error) {
	w := &signing{scheme: s, draft: d, at: at, in: s.inputs.Get().(*input), out: Signed{Body: d.Body}}
	defer func() {
		w.in.reset()
		s.inputs.Put(w.in)
	}()
	if w.draft.Method == "" {
		w.draft.Method = "POST"
	}
	w.in.request, w.in.now = w, at
	if len(s.algorithms) > 0 {
		w.in.algorithm = s.algorithms[0]
	}
	var err error
	switch s.family.keys {
	case tokenKeys, basicKeys:
		err = w.credential()
	case jwtKeys:
		err = w.token()
	default:
		err = w.signature()
	}
	if err != nil {
		return Signed{}, fmt.Errorf("sign by scheme %s: %w", s.name, err)
	}
	return w.out, nil
}

// signing is one signature in the making. As a [Request] it is the draft with
// what was added to it so far, so that the message is gathered as it will be
// when it is verified.
type signing struct {
	scheme *Scheme
	draft  Draft
	at     time.Time
	in     *input
	out    Signed
}

func (w *signing) Header(name string) (value []byte, count int) {
	for _, headers := range [][]Header{w.draft.Headers, w.out.Headers} {
		for _, h := range headers {
			if strings.EqualFold(h.Name, name) {
				if count == 0 {
					value = []byte(strings.TrimSpace(h.Value))
				}
				count++
			}
		}
	}
	return value, count
}

func (w *signing) Body() []byte   { return w.out.Body }
func (w *signing) Method() []byte { return []byte(w.draft.Method) }
func (w *signing) Path() []byte   { return []byte(w.draft.Path) }
func (w *signing) Query() []byte  { return nil }

func (w *signing) add(name, value string) {
	if w.out.Headers == nil {
		w.out.Headers = make([]Header, 0, 4)
	}
	w.out.Headers = append(w.out.Headers, Header{Name: name, Value: value})
}

// put puts a text where the config puts it.
func (w *signing) put(from string, names []string, text string) (err error) {
	switch from {
	case "json":
		w.out.Body, err = values.SetMember(w.out.Body, strings.Split(names[0], "."), jsontext.AppendString(nil, text))
		w.in.parsed = false
	case "query":
		w.out.Query = url.QueryEscape(names[0]) + "=" + url.QueryEscape(text)
	default:
		w.add(names[0], text)
	}
	return err
}

// secret returns the first secret that is valid.
func (w *signing) secret() (Secret, *key, error) {
	for i := range w.scheme.keys {
		if k := &w.scheme.keys[i]; k.valid(w.at) {
			return w.scheme.config.Secrets[i], k, nil
		}
	}
	return Secret{}, nil, fmt.Errorf("no secret is valid at %s", w.at.UTC().Format(time.RFC3339))
}

// signature signs a message of parts.
func (w *signing) signature() error {
	s, c := w.scheme, &w.scheme.config
	if err := w.stamp(); err != nil {
		return err
	}
	if c.AlgorithmHeader != "" {
		w.add(c.AlgorithmHeader, string(w.in.algorithm.name))
	}
	if c.KeyIDHeader != "" && c.PrivateKey != nil {
		w.add(c.KeyIDHeader, c.PrivateKey.ID)
	}
	w.makeUpHeaders()
	if fail := w.in.readMessage(); fail != nil {
		return fail
	}
	field, signature, err := w.makeSignature()
	if err != nil {
		return err
	}
	text := c.Signature.Prefix + s.codecs[0].encode(signature)
	switch c.Signature.Format {
	case "fields":
		text = c.Signature.Fields[field] + "=" + text
		if c.Timestamp.From == "field" {
			text = c.Timestamp.Names[0] + "=" + string(w.in.timestamp) + c.Signature.Separator + text
		}
	case "tagged":
		text = c.Signature.Fields[field] + "," + text
	}
	return w.put(c.Signature.From, w.in.counting(c.Signature.Names), text)
}

// stamp puts the time where it belongs, unless that is a field of the signature.
func (w *signing) stamp() error {
	t := &w.scheme.config.Timestamp
	if t.From == "none" {
		return nil
	}
	text := values.FormatTime(t.Unit, w.at)
	w.in.timestamp = []byte(text)
	switch t.From {
	case "field":
		return nil
	case "json":
		value := []byte(text)
		if t.Unit != "s" && t.Unit != "ms" {
			value = jsontext.AppendString(nil, text)
		}
		var err error
		w.out.Body, err = values.SetMember(w.out.Body, strings.Split(t.Names[0], "."), value)
		return err
	default:
		return w.put(t.From, w.in.counting(t.Names), text)
	}
}

// makeUpHeaders adds the headers of the message that the draft lacks: the path, or such as
// an id of the event, a digest of the body, so that the same event has the same.
func (w *signing) makeUpHeaders() {
	for i := range w.scheme.parts {
		p := &w.scheme.parts[i]
		if !p.inHeader() {
			continue
		}
		if _, fail := p.source.readHeader(w.in); fail == nil || fail.Kind != Missing {
			continue
		}
		if p.kind == pathPart {
			w.add(p.names[0], w.draft.Path)
		} else {
			sum := sha256.Sum256(w.draft.Body)
			w.add(p.names[0], "msg_"+hex.EncodeToString(sum[:12]))
		}
	}
}

// makeSignature signs the message and returns the index of the field for the signature.
func (w *signing) makeSignature() (field int, signature []byte, err error) {
	s, private := w.scheme, w.scheme.config.PrivateKey
	if s.family.keys == rsaKeys || s.family.keys == edKeys || s.family.keys == pairKeys && private != nil {
		if s.family.keys == pairKeys {
			field = pairedField
		}
		signature, err = w.byPrivateKey(s.family.keys == rsaKeys)
		return field, signature, err
	}
	_, k, err := w.secret()
	if err != nil {
		return 0, nil, err
	}
	mac, ok := k.verifier.(*macKey)
	if !ok {
		return 0, nil, ErrNoPrivateKey // the secret is a public key
	}
	return 0, w.byMAC(mac), nil
}

func (w *signing) byMAC(k *macKey) []byte {
	pool := k.pools[w.in.algorithm.index]
	mac := pool.Get().(*digest)
	defer pool.Put(mac)
	return bytes.Clone(mac.of(w.in.parts))
}

// byPrivateKey signs by RSA or else by ed25519.
func (w *signing) byPrivateKey(byRSA bool) ([]byte, error) {
	private := w.scheme.config.PrivateKey
	if private == nil || private.Key == nil {
		return nil, ErrNoPrivateKey
	}
	switch private.Key.Public().(type) {
	case *rsa.PublicKey:
		if byRSA {
			return private.Key.Sign(rand.Reader, w.in.hashed(), w.in.algorithm.hash)
		}
	case ed25519.PublicKey:
		if !byRSA {
			return private.Key.Sign(rand.Reader, w.in.whole(), crypto.Hash(0))
		}
	}
	return nil, fmt.Errorf("a private key of type %T can't sign here", private.Key)
}
