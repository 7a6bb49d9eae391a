package signature

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// used lists the keys that c sets, but for the scheme and its keys.
func (c *Config) used() []string {
	var keys []string
	for _, s := range []struct {
		key string
		set bool
	}{
		{"algorithms", len(c.Algorithms) > 0},
		{"algorithm_header", c.AlgorithmHeader != ""},
		{"allow_sha1", c.AllowSHA1},
		{"encodings", len(c.Encodings) > 0},
		{"signature.from", c.Signature.From != ""},
		{"signature.names", len(c.Signature.Names) > 0},
		{"signature.prefix", c.Signature.Prefix != ""},
		{"signature.prefix_optional", c.Signature.PrefixOptional},
		{"signature.format", c.Signature.Format != ""},
		{"signature.fields", len(c.Signature.Fields) > 0},
		{"signature.separator", c.Signature.Separator != ""},
		{"timestamp.from", c.Timestamp.From != ""},
		{"timestamp.names", len(c.Timestamp.Names) > 0},
		{"timestamp.unit", c.Timestamp.Unit != ""},
		{"tolerance_past", c.TolerancePast != 0},
		{"tolerance_future", c.ToleranceFuture != 0},
		{"message", len(c.Message) > 0},
		{"derive", c.Derive != ""},
		{"normalize", c.Normalize != ""},
		{"key_id_header", c.KeyIDHeader != ""},
		{"jwks", c.JWKS != ""},
		{"claims", len(c.Claims) > 0},
	} {
		if s.set {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// faults lists what is wrong with c as it was written. Full is c completed by
// its family.
func (c *Config) faults(f *family, full *Config) (out Invalid) {
	for _, key := range c.used() {
		out.check(f.allows(key), key, "means nothing to scheme %s", c.Scheme)
	}
	full.algorithmFaults(f, &out)
	full.secretFaults(f, &out)
	if f.fixed == nil {
		full.placeFaults(f, &out)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Claims)) {
		out.check(isPlain(name), "claims", "%q is no claim's name", name)
	}
	if f.signs() {
		if f.fixed == nil {
			full.messageFaults(&out)
			full.timestampFaults(c, &out)
		}
		full.toleranceFaults(f, &out)
	} else {
		out.check(c.TolerancePast >= 0, "tolerance_past", "must not be negative, is %v", c.TolerancePast)
		out.check(c.ToleranceFuture >= 0, "tolerance_future", "must not be negative, is %v", c.ToleranceFuture)
	}
	return out
}

func (c *Config) algorithmFaults(f *family, out *Invalid) {
	for i, a := range c.Algorithms {
		path := item("algorithms", i)
		switch {
		case len(f.algorithms) == 0: // reported already
		case !slices.Contains(f.algorithms, a):
			out.add(path, "%q is none of %v", a, f.algorithms)
		case slices.Contains(c.Algorithms[:i], a):
			out.add(path, "%q is listed twice", a)
		case a == SHA1 && !c.AllowSHA1:
			out.add(path, "sha1 is used only with allow_sha1 = true")
		}
	}
	out.check(!c.AllowSHA1 || slices.Contains(c.Algorithms, SHA1), "allow_sha1", "is set, but sha1 is not among the algorithms")
	out.check(c.AlgorithmHeader == "" || isToken(c.AlgorithmHeader), "algorithm_header", "%q is no header's name", c.AlgorithmHeader)
	if f.signs() && f.fixed == nil {
		out.check(len(c.Algorithms) < 2 || c.AlgorithmHeader != "", "algorithm_header", "is needed to tell %d algorithms apart", len(c.Algorithms))
	}
	for i, e := range c.Encodings {
		out.check(slices.Contains(encodings, e), item("encodings", i), "%q is none of %v", e, encodings)
	}
	distinct(out, "encodings", c.Encodings)
}

func (c *Config) secretFaults(f *family, out *Invalid) {
	symmetric, public := f.keyNeeds(c)
	out.check(!symmetric || len(c.Secrets) > 0, "secrets", "at least one secret is needed")
	out.check(symmetric || len(c.Secrets) == 0, "secrets", "mean nothing here: the keys come from a JWKS")
	out.check(!public || c.JWKS != "" || c.Keys != nil, "jwks", "is needed: the file or https address of the sender's public keys")
	out.check(!public || c.JWKS == "" || c.Keys != nil, "jwks", "nobody has made a source of its keys")
	out.check(public || c.JWKS == "" || !f.allows("jwks"), "jwks", "means nothing without RS256")
	out.check(c.KeyIDHeader == "" || isToken(c.KeyIDHeader), "key_id_header", "%q is no header's name", c.KeyIDHeader)
	if c.JWKS != "" {
		if _, err := Loader(c.JWKS); err != nil {
			out.add("jwks", "%v", err)
		}
	}
	if !out.oneOf("derive", c.Derive, "utf8", "base64", "hex", "whsec") || !out.oneOf("normalize", c.Normalize, "none", "nfkd") {
		return
	}
	out.check(c.Normalize == "none" || c.Derive == "utf8", "normalize", "%s has no meaning for a key in %s", c.Normalize, c.Derive)
	for i, s := range c.Secrets {
		path := item("secrets", i)
		switch {
		case !validID(s.ID):
			out.add(path+".id", "%q is not 1 to 64 characters of a-z, A-Z, 0-9, '.', '-' and '_'", s.ID)
		case slices.ContainsFunc(c.Secrets[:i], func(o Secret) bool { return o.ID == s.ID }):
			out.add(path+".id", "%q is the id of two secrets", s.ID)
		}
		if _, problem := c.newKey(f.keys, s, nil); problem != "" {
			out.add(path+".key", "%s", problem)
		}
		out.check(s.NotBefore.IsZero() || s.NotAfter.IsZero() || s.NotBefore.Before(s.NotAfter), path+".not_after", "must be later than not_before")
	}
}

// keyNeeds reports whether the scheme needs secrets, and whether public keys.
func (f *family) keyNeeds(c *Config) (secrets, public bool) {
	switch f.keys {
	case rsaKeys:
		return false, true
	case jwtKeys:
		public = slices.Contains(c.Algorithms, RS256)
		return !public || len(c.Algorithms) > 1, public
	default:
		return true, false
	}
}

func (c *Config) placeFaults(f *family, out *Invalid) {
	p := &c.Signature
	sources := []string{"header", "json", "query"}
	if !f.signs() {
		sources = []string{"header", "query"}
	}
	if out.oneOf("signature.from", p.From, sources...) {
		nameFaults(out, "signature.names", p.From, p.Names)
	}
	out.check(!p.PrefixOptional || p.Prefix != "", "signature.prefix_optional", "is set, but there is no prefix")
	out.oneOf("signature.separator", p.Separator, ",", ";")
	if !out.oneOf("signature.format", p.Format, "plain", "fields", "tagged") {
		return
	}
	plain := p.Format == "plain"
	out.check(plain || p.Prefix == "", "signature.prefix", "is for the plain format only")
	out.check(plain || len(p.Fields) > 0, "signature.fields", "the format %s needs the names of fields that hold signatures", p.Format)
	out.check(!plain || len(p.Fields) == 0, "signature.fields", "the format plain has no fields")
	out.check(p.Format == "fields" || p.Separator == ",", "signature.separator", "is for the format fields only")
	for i, name := range p.Fields {
		out.check(isToken(name), item("signature.fields", i), "%q is no field's name", name)
	}
	distinct(out, "signature.fields", p.Fields)
}

// nameFaults checks the names of headers, of a member or of a parameter.
func nameFaults(out *Invalid, path, from string, names []string) {
	out.check(len(names) > 0, path, "a name is needed")
	out.check(len(names) < 2 || from == "header", path, "only headers may have several names")
	for i, n := range names {
		switch from {
		case "header", "field":
			out.check(isToken(n), item(path, i), "%q is no name of a %s", n, from)
		case "json":
			out.check(isMember(n), item(path, i), "%q is no member's name", n)
		default:
			out.check(n != "", item(path, i), "a name is needed")
		}
	}
	distinct(out, path, names)
}

func (c *Config) messageFaults(out *Invalid) {
	out.check(len(c.Message) <= maxParts, "message", "has %d parts, at most %d are possible", len(c.Message), maxParts)
	binds := false
	for i, text := range c.Message {
		path := item("message", i)
		p, problem := parsePart(text)
		if problem != "" {
			out.add(path, "%s", problem)
			continue
		}
		binds = binds || p.kind != literalPart && p.kind != methodPart && p.kind != pathPart
		if c.Signature.From == "json" {
			self := c.Signature.Names
			out.check(p.kind != bodyPart, path, "the body holds the signature, so it can't be signed")
			out.check(p.kind != memberPart || len(self) != 1 || !within(self[0], p.names[0]), path, "%s holds the signature, so it can't be signed", text)
		}
		out.check(p.kind != headerPart || !c.signatureIn(p.names), path, "%s holds the signature, so it can't be signed", text)
		out.check(p.kind != timestampPart || c.Timestamp.From != "none", path, "there is no timestamp: set timestamp.from")
	}
	out.check(binds, "message", "signs nothing that the sender says")
}

// signatureIn reports whether one of the headers holds the signature.
func (c *Config) signatureIn(headers []string) bool {
	return c.Signature.From == "header" && slices.ContainsFunc(headers, func(name string) bool { return slices.Contains(c.Signature.Names, name) })
}

// timestampFaults checks the timestamp; written is c before it was completed.
func (c *Config) timestampFaults(written *Config, out *Invalid) {
	t := &c.Timestamp
	if !out.oneOf("timestamp.from", t.From, "none", "header", "field", "json") {
		return
	}
	out.oneOf("timestamp.unit", t.Unit, "s", "ms", "rfc3339", "rfc2822")
	if t.From == "none" {
		out.check(len(t.Names) == 0, "timestamp.names", "there is no timestamp: set timestamp.from")
		out.check(written.Timestamp.Unit == "", "timestamp.unit", "there is no timestamp: set timestamp.from")
		return
	}
	nameFaults(out, "timestamp.names", t.From, t.Names)
	out.check(t.From != "header" || !c.signatureIn(t.Names), "timestamp.names", "names the header that holds the signature: set timestamp.from to field")
	if t.From == "field" {
		out.check(c.Signature.Format == "fields", "timestamp.from", "the signature has no fields: set signature.format")
		out.check(len(t.Names) == 0 || !slices.Contains(c.Signature.Fields, t.Names[0]), "timestamp.names", "names a field that holds signatures")
	}
	out.check(c.signsTimestamp(), "message", "does not hold the timestamp, so anybody could change it")
}

// signsTimestamp reports whether the message holds the timestamp, by itself or as
// a part of something else.
func (c *Config) signsTimestamp() bool {
	return slices.ContainsFunc(c.Message, func(text string) bool {
		p, _ := parsePart(text)
		switch p.kind {
		case timestampPart:
			return true
		case bodyPart:
			return c.Timestamp.From == "json"
		case memberPart:
			return c.Timestamp.From == "json" && len(c.Timestamp.Names) == 1 && within(c.Timestamp.Names[0], p.names[0])
		case headerPart:
			return c.Timestamp.From == "header" && slices.Equal(p.names, c.Timestamp.Names)
		default:
			return false
		}
	})
}

func (c *Config) toleranceFaults(f *family, out *Invalid) {
	for _, t := range []struct {
		path string
		is   time.Duration
	}{{"tolerance_past", c.TolerancePast}, {"tolerance_future", c.ToleranceFuture}} {
		switch c.Timestamp.From {
		case "none":
			out.check(f.fixed != nil || t.is == 0, t.path, "there is no timestamp: set timestamp.from")
		case "header", "field", "json":
			out.check(t.is > 0, t.path, "must be positive, is %v", t.is)
		}
	}
}

// within reports whether the member named inner is the one named outer, or
// inside it.
func within(inner, outer string) bool {
	return inner == outer || strings.HasPrefix(inner, outer+".")
}
