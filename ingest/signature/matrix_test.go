package signature

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/signature/values"
)

// accepted is no failure in lists of kinds.
const accepted = Kind(0)

// outcome fails unless the answer of Verify is one of the kinds.
func outcome(t *testing.T, what string, s *Scheme, r Request, now time.Time, wantID string, kinds ...Kind) {
	t.Helper()
	id, err := s.Verify(r, now)
	got := accepted
	if fail, ok := errors.AsType[*Failure](err); ok {
		got = fail.Kind
	}
	if !slices.Contains(kinds, got) || err == nil && id != wantID || err != nil && id != "" {
		t.Errorf("%s: got %q, %v; want one of %v by %q", what, id, err, kinds, wantID)
	}
}

// TestEverySender holds the answers that are the same for every scheme, or follow
// from what it is.
func TestEverySender(t *testing.T) {
	t.Parallel()
	for _, s := range senders() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			scheme := compile(t, s.verifier(t, "new"))
			r := signed(t, s.signer(t, "new"), payload, noon)
			outcome(t, "right", scheme, r, noon, "new", accepted)

			s.checkKeys(t, scheme)
			s.checkBody(t, scheme)
			s.checkTime(t, scheme)
			s.checkPlace(t, scheme)
			s.checkHeaders(t, scheme)
			s.checkSpelling(t, scheme)
		})
	}
}

// checkKeys: which key signed, and when it counts.
func (s *sender) checkKeys(t *testing.T, scheme *Scheme) {
	t.Helper()
	forged := signed(t, s.signer(t, "evil"), payload, noon)
	if s.publicKeys() {
		forged.swap("evil", "new")
		outcome(t, "unknown key", compile(t, s.verifier(t, "new")), signed(t, s.signer(t, "evil"), payload, noon), noon, "", UnknownKey, Mismatch)
		outcome(t, "wrong key", scheme, forged, noon, "", Mismatch, UnknownKey)
		rotated := compile(t, s.verifier(t, "new", "old"))
		outcome(t, "rotated key", rotated, signed(t, s.signer(t, "old"), payload, noon), noon, "old", accepted)
		return
	}
	outcome(t, "wrong secret", scheme, forged, noon, "", Mismatch)

	old := signed(t, s.signer(t, "old"), payload, noon)
	for _, tc := range []struct {
		name          string
		before, after time.Time
		want          Kind
	}{
		{"rotated", time.Time{}, time.Time{}, accepted},
		{"expired", time.Time{}, noon.Add(-time.Second), Expired},
		{"in its last moment", noon.Add(-time.Hour), noon, accepted},
		{"not yet valid", noon.Add(time.Second), time.Time{}, NotYetValid},
		{"in its first moment", noon, noon.Add(time.Hour), accepted},
	} {
		c := s.verifier(t, "new", "old")
		c.Secrets[1].NotBefore, c.Secrets[1].NotAfter = tc.before, tc.after
		outcome(t, "secret "+tc.name, compile(t, c), old, noon, "old", tc.want)
		outcome(t, "wrong secret, other "+tc.name, compile(t, c), forged, noon, "", Mismatch)
	}
}

// checkBody: a change of the body, where the scheme covers it and where not.
func (s *sender) checkBody(t *testing.T, scheme *Scheme) {
	t.Helper()
	inside, outside := accepted, accepted
	if b := scheme.Binding(); b.Body {
		inside, outside = Mismatch, Mismatch
	} else if len(b.Members) > 0 {
		inside = Mismatch
	}
	for _, tc := range []struct {
		name, old, now string
		want           Kind
	}{
		{"a status altered", "out_for_delivery", "delivered", inside},
		{"an id altered", "evt_123", "evt_124", outside},
		{"white space added", `"evt_123"`, ` "evt_123"`, outside},
	} {
		r := signed(t, s.signer(t, "new"), payload, noon)
		r.swap(tc.old, tc.now)
		outcome(t, tc.name, scheme, r, noon, "new", tc.want)
	}
}

// checkTime: an altered time, and one beyond the tolerance.
func (s *sender) checkTime(t *testing.T, scheme *Scheme) {
	t.Helper()
	r := signed(t, s.signer(t, "new"), payload, noon)
	from, unit := scheme.config.Timestamp.From, scheme.config.Timestamp.Unit
	if s.config.Scheme == "jwt" {
		outcome(t, "expired", scheme, r, noon.Add(tokenLife+s.config.TolerancePast), "", TooOld)
		outcome(t, "not quite expired", scheme, r, noon.Add(tokenLife+s.config.TolerancePast-time.Second), "new", accepted)
		outcome(t, "issued in the future", scheme, r, noon.Add(-s.config.ToleranceFuture-time.Second), "", TooNew)
		return
	}
	if from == "none" {
		outcome(t, "years later", scheme, r, noon.AddDate(0, 0, 1), "new", accepted) // a JWKS counts for a day here
		return
	}
	outcome(t, "late", scheme, r, noon.Add(DefaultTolerance), "new", accepted)
	outcome(t, "too late", scheme, r, noon.Add(DefaultTolerance+time.Millisecond), "", TooOld)
	outcome(t, "early", scheme, r, noon.Add(-DefaultTolerance), "new", accepted)
	outcome(t, "too early", scheme, r, noon.Add(-DefaultTolerance-time.Millisecond), "", TooNew)

	r.swap(values.FormatTime(unit, noon), values.FormatTime(unit, noon.Add(time.Second)))
	outcome(t, "altered timestamp", scheme, r, noon, "", Mismatch)
	r.swap(values.FormatTime(unit, noon.Add(time.Second)), "soon")
	outcome(t, "no timestamp to speak of", scheme, r, noon, "", Malformed)
}

// checkPlace: the signature is absent, empty, or there twice.
func (s *sender) checkPlace(t *testing.T, scheme *Scheme) {
	t.Helper()
	fresh := func() (*captured, string) {
		r := signed(t, s.signer(t, "new"), payload, noon)
		whole, _ := s.text(t, r)
		return r, whole
	}
	name := scheme.config.Signature.Names[0]
	r, whole := fresh()
	switch scheme.config.Signature.From {
	case "query":
		both := r.query + "&x=1&" + r.query
		r.query = "x=1"
		outcome(t, "missing", scheme, r, noon, "", Missing)
		r.query = both
	case "json":
		before := r.body
		r.body = bytes.Replace(before, []byte(`"signature"`), []byte(`"other"`), 1)
		outcome(t, "missing", scheme, r, noon, "", Missing)
		r.body = bytes.Replace(before, []byte(`"signature"`), []byte(`"s\u0069gnature":"x","signature"`), 1)
	default:
		r.set(name)
		outcome(t, "missing", scheme, r, noon, "", Missing)
		r.set(name, whole, whole)
	}
	outcome(t, "doubled", scheme, r, noon, "", Doubled)
	r, whole = fresh()
	r.swap(whole, "")
	outcome(t, "empty", scheme, r, noon, "", Missing)
}

// checkHeaders: each header that a request is verified by is absent, empty, or there
// twice, as it was or with another value behind it.
func (s *sender) checkHeaders(t *testing.T, scheme *Scheme) {
	t.Helper()
	for _, name := range scheme.Headers() {
		r := signed(t, s.signer(t, "new"), payload, noon)
		value, count := r.Header(name)
		if count == 0 { // another name of one that is there, and counts: Svix sends both
			r.set(name, "other")
			outcome(t, "with "+name+" beside its other name", scheme, r, noon, "new", accepted)
			continue
		}
		whole := string(value)
		r.set(name)
		outcome(t, "without "+name, scheme, r, noon, "", Missing)
		r.set(name, "")
		outcome(t, "with an empty "+name, scheme, r, noon, "", Missing)
		r.set(name, " \t")
		outcome(t, "with a blank "+name, scheme, r, noon, "", Missing)
		r.set(name, whole, whole)
		outcome(t, "with "+name+" twice", scheme, r, noon, "", Doubled)
		r.set(name, whole, "other")
		outcome(t, "with another "+name+" behind it", scheme, r, noon, "", Doubled)
		r.set(name, whole)
		outcome(t, "with "+name+" again", scheme, r, noon, "new", accepted)
	}
}

// checkSpelling: the signature in another case, cut short, with white space.
func (s *sender) checkSpelling(t *testing.T, scheme *Scheme) {
	t.Helper()
	credential := scheme.family.keys == tokenKeys
	// What base64 makes of another case may be no base64 at all.
	upper, broken := []Kind{Mismatch, Malformed}, []Kind{Malformed}
	switch {
	case credential:
		upper, broken = []Kind{Mismatch}, []Kind{Mismatch}
	case scheme.family.signs() && scheme.config.Encodings[0] == Hex:
		upper = []Kind{accepted}
	}
	short := broken
	if scheme.family.keys == rsaKeys || scheme.family.keys == jwtKeys || scheme.family.keys == basicKeys {
		short = []Kind{Malformed, Mismatch} // there the length says little
	}
	for _, tc := range []struct {
		name   string
		change func(string) string
		want   []Kind
	}{
		{"in upper case", strings.ToUpper, upper},
		{"white space inside", func(v string) string { return v[:5] + " " + v[5:] }, broken},
		{"a line break inside", func(v string) string { return v[:8] + `\n` + v[8:] }, broken},
		{"cut short", func(v string) string { return v[:len(v)-4] }, short},
		{"too long", func(v string) string { return v + v }, short},
		{"nothing like it", func(string) string { return "?" }, broken},
	} {
		r := signed(t, s.signer(t, "new"), payload, noon)
		_, signature := s.text(t, r)
		r.swap(signature, tc.change(signature))
		outcome(t, tc.name, scheme, r, noon, "new", tc.want...)
	}
	if scheme.config.Signature.From == "header" {
		r := signed(t, s.signer(t, "new"), payload, noon)
		whole, _ := s.text(t, r)
		r.set(scheme.config.Signature.Names[0], "  "+whole+"\t")
		outcome(t, "white space around the header", scheme, r, noon, "new", accepted)
	}
}
