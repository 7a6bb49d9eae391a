package signature

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/values"
)

// FuzzEverySender sends anything to every scheme. Nothing may panic, Explain has
// to agree with Verify, and what an HMAC scheme accepts, a second implementation
// that takes the straight road has to accept, and the other way round.
func FuzzEverySender(f *testing.F) {
	all := senders()
	schemes := make([]*Scheme, len(all))
	for i := range all {
		schemes[i] = compile(f, all[i].verifier(f, "new"))
		r := signed(f, all[i].signer(f, "new"), payload, noon)
		whole, _ := all[i].text(f, r)
		f.Add(uint8(i), whole, values.FormatTime(schemes[i].config.Timestamp.Unit, noon), "x=1", payload, true)
		f.Add(uint8(i), whole, values.FormatTime(schemes[i].config.Timestamp.Unit, noon.Add(time.Hour)), r.query, r.body, false)
	}
	f.Add(uint8(2), "v1,AAAA v1a,AAAA v1,", "1772107200", "", []byte("x"), false)
	f.Add(uint8(18), "", "", "", []byte(`{"timestamp":1772107200,"signature":"00","data":{}}`), false)
	f.Fuzz(func(t *testing.T, which uint8, text, stamp, query string, body []byte, sign bool) {
		i := int(which) % len(all)
		s, c := schemes[i], &schemes[i].config
		r := &captured{method: "POST", path: "/p", query: query, body: body}
		if sign {
			if out, err := s.SignRequest(Draft{Method: "POST", Path: "/p", Body: body}, noon); err == nil {
				r.headers, r.body = out.Headers, out.Body
				r.query = strings.TrimSuffix(out.Query+"&"+query, "&")
			}
		}
		if c.Signature.From == "header" && (!sign || text != "") {
			r.set(c.Signature.Names[0], text)
		}
		if c.Timestamp.From == "header" && (!sign || stamp != "") {
			r.set(c.Timestamp.Names[0], stamp)
		}
		id, err := s.Verify(r, noon)
		if e := s.Explain(r, noon); e.Accepted != (err == nil) || e.KeyID != id {
			t.Fatalf("%s: Verify says %q, %v; Explain says\n%s", all[i].name, id, err, rendered(e))
		}
		if s.family.keys != macKeys && s.family.keys != pairKeys {
			return
		}
		if want := (&reference{c, r}).accepts(t); want != (err == nil) {
			t.Fatalf("%s: %v, the reference accepts: %v\nheaders %q\nquery %q\nbody %q", all[i].name, err, want, r.headers, r.query, r.body)
		}
	})
}

// reference verifies an HMAC by the words of a config. It knows one secret, and
// no way to be fast.
type reference struct {
	c *Config
	r *captured
}

func (f *reference) accepts(t *testing.T) bool {
	text, ok := f.text(t, f.c.Signature.From, f.c.Signature.Names)
	if !ok {
		return false
	}
	signatures, fieldTime, ok := f.split(text)
	if !ok || len(signatures) > maxSignatures {
		return false
	}
	stamp, ok := f.stamp(t, fieldTime)
	if !ok {
		return false
	}
	name := f.c.Algorithms[0]
	if f.c.AlgorithmHeader != "" {
		if value, count := f.r.Header(f.c.AlgorithmHeader); count > 0 {
			name = Algorithm(value)
		} else if len(f.c.Algorithms) > 1 {
			return false
		}
		if !slices.Contains(f.c.Algorithms, name) {
			return false
		}
	}
	message, ok := f.message(t, stamp)
	if !ok {
		return false
	}
	newHash := map[Algorithm]func() hash.Hash{SHA1: sha1.New, SHA256: sha256.New, HMACSHA256: sha256.New, SHA512: sha512.New, HMACSHA512: sha512.New}[name]
	key, _ := f.c.derive(f.c.Secrets[0].Key, macKeys)
	mac := hmac.New(newHash, key)
	mac.Write(message)
	return slices.ContainsFunc(signatures, func(s string) bool { return f.decodesTo(s, mac.Sum(nil)) })
}

func (f *reference) text(t *testing.T, from string, names []string) (string, bool) {
	t.Helper()
	switch from {
	case "json":
		raw, ok := f.raw(t, names[0])
		if !ok {
			return "", false
		}
		var text string
		if raw[0] == '"' {
			err := json.Unmarshal(raw, &text)
			return text, err == nil && text != ""
		}
		return string(raw), raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
	case "query":
		var found []string
		for _, pair := range strings.Split(f.r.query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			if name, err := url.QueryUnescape(name); err == nil && name == names[0] {
				found = append(found, value)
			}
		}
		if len(found) != 1 {
			return "", false
		}
		value, err := url.QueryUnescape(found[0])
		return value, err == nil
	default:
		for _, n := range names {
			if value, count := f.r.Header(n); count > 0 {
				return string(value), count == 1
			}
		}
		return "", false
	}
}

func (f *reference) raw(t *testing.T, path string) ([]byte, bool) {
	t.Helper()
	value := f.r.body
	if !json.Valid(value) {
		return nil, false
	}
	for _, name := range strings.Split(path, ".") {
		inner, count := values.Member(value, name) // FuzzMember compares that
		if count != 1 {
			return nil, false
		}
		value = inner
	}
	return value, true
}

func (f *reference) split(text string) (signatures []string, stamp string, ok bool) {
	p := f.c.Signature
	if p.Format == "plain" {
		bare, cut := strings.CutPrefix(text, p.Prefix)
		return []string{bare}, "", cut || p.PrefixOptional
	}
	separator, assign := " ", ","
	if p.Format == "fields" {
		separator, assign = p.Separator, "="
	}
	times := 0
	for _, item := range strings.Split(text, separator) {
		if p.Format == "fields" {
			item = string(bytes.TrimSpace([]byte(item)))
		}
		name, value, _ := strings.Cut(item, assign)
		if f.c.Timestamp.From == "field" && name == f.c.Timestamp.Names[0] {
			stamp = value
			times++
		} else if slices.Contains(p.Fields, name) {
			if f.c.Scheme == "standard-webhooks" && name == "v1a" {
				value = ""
			}
			signatures = append(signatures, value)
		}
	}
	return signatures, stamp, times < 2
}

func (f *reference) stamp(t *testing.T, inField string) (string, bool) {
	t.Helper()
	if f.c.Timestamp.From == "none" {
		return "", true
	}
	text, ok := inField, true
	if f.c.Timestamp.From != "field" {
		text, ok = f.text(t, f.c.Timestamp.From, f.c.Timestamp.Names)
	}
	var at time.Time
	var err error
	switch f.c.Timestamp.Unit {
	case "rfc3339":
		err = at.UnmarshalText([]byte(text))
	case "rfc2822":
		at, ok = values.ParseTime("rfc2822", []byte(text)) // FuzzParseMailTime compares that
	default:
		var n uint64
		n, err = strconv.ParseUint(text, 10, 63)
		ok = ok && len(text) <= 18
		if at = time.Unix(int64(n), 0); f.c.Timestamp.Unit == "ms" {
			at = time.UnixMilli(int64(n))
		}
	}
	return text, ok && err == nil && math.Abs(noon.Sub(at).Seconds()) <= DefaultTolerance.Seconds()
}

func (f *reference) message(t *testing.T, stamp string) (message []byte, ok bool) {
	t.Helper()
	for _, part := range f.c.Message {
		kind, value, _ := strings.Cut(part, ":")
		switch kind {
		case "literal":
			message = append(message, value...)
		case "timestamp":
			message = append(message, stamp...)
		case "method":
			message = append(message, f.r.method...)
		case "path":
			message = append(message, f.r.path...)
		case "body":
			message = append(message, f.r.body...)
		case "header":
			text, ok := f.text(t, "header", strings.Split(strings.ToLower(value), "|"))
			if !ok || text == "" {
				return nil, false
			}
			message = append(message, text...)
		case "json":
			raw, ok := f.raw(t, value)
			if !ok {
				return nil, false
			}
			message = append(message, raw...)
		}
	}
	return message, true
}

func (f *reference) decodesTo(text string, want []byte) bool {
	for _, e := range f.c.Encodings {
		if strings.ContainsAny(text, "\r\n") {
			continue
		}
		var candidates [][]byte
		switch e {
		case Hex:
			raw, err := hex.DecodeString(text)
			candidates = keep(candidates, raw, err)
		case Base64:
			raw, err := base64.StdEncoding.Strict().DecodeString(text)
			candidates = keep(candidates, raw, err)
			raw, err = base64.RawStdEncoding.Strict().DecodeString(text)
			candidates = keep(candidates, raw, err)
		case Base64URL:
			raw, err := base64.URLEncoding.Strict().DecodeString(text)
			candidates = keep(candidates, raw, err)
			raw, err = base64.RawURLEncoding.Strict().DecodeString(text)
			candidates = keep(candidates, raw, err)
		}
		if slices.ContainsFunc(candidates, func(raw []byte) bool { return bytes.Equal(raw, want) }) {
			return true
		}
	}
	return false
}

func keep(list [][]byte, raw []byte, err error) [][]byte {
	if err != nil {
		return list
	}
	return append(list, raw)
}
