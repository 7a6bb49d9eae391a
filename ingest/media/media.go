// Package media decides by its headers whether a body may be the JSON of an event. In
// come the values of content-type and content-encoding, out comes whether the body is
// packed, or why it is refused. The intake asks it, and so does the command that explains
// what the intake would do.
//
// A media type proves nothing: what the signature covers, and what the body is, count. So
// the default takes what senders of JSON call it, and refuses what says that it is something
// else. One thing a type does prove: a browser that is made to post by a page of another
// site asks first, unless the type is one of those that a form can have (Fetch standard,
// CORS-safelisted content-type). Where the credential is one that browsers send by
// themselves, those are left out.
package media

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/framing"
)

// None is the type of a request that has no content-type.
const None = "none"

// The content codings.
const (
	Identity = "identity"
	Gzip     = "gzip"
)

// Codings lists the content codings that can be taken, which all are by default.
var Codings = []string{Identity, Gzip}

// maxTypeBytes bounds a media type that is compared; a longer one is taken by no pattern.
const maxTypeBytes = 127

var (
	namedJSON = []string{"application/json", "*/*+json", "text/json", "application/x-json", "text/x-json", "application/vnd.*", "application/octet-stream"}
	ofForms   = []string{"text/plain", "application/x-www-form-urlencoded", None}
)

// Types returns the types that are taken by default. Ambient says that the credential of a
// request is one that browsers send by themselves.
func Types(ambient bool) []string {
	if ambient {
		return slices.Clone(namedJSON)
	}
	return slices.Concat(namedJSON, ofForms)
}

// Accepts says which types and codings of bodies a courier may post. It never changes.
type Accepts struct {
	types       []string // patterns, in lower case
	none        bool     // no type
	gzip        bool
	plain       bool   // not packed
	badType     string // what a refusal says
	badEncoding string
}

// New compiles lists of types and codings, and adds what is wrong with them. A type may
// have stars, each for any text without a slash, as in "application/*" and "*/*+json";
// a suffix such as +xml is matched by a star only in "*/*". An empty list of codings means
// all [Codings].
func New(types, codings []string, faults *event.Faults, at string) *Accepts {
	if len(codings) == 0 {
		codings = Codings
	}
	a := &Accepts{
		gzip: slices.Contains(codings, Gzip), plain: slices.Contains(codings, Identity),
		badType:     "the content-type must be one of " + strings.Join(types, ", "),
		badEncoding: "the content-encoding must be " + strings.Join(codings, " or "),
	}
	faults.Check(len(types) > 0, at+"content_types", "is empty: nothing could be posted")
	for i, text := range types {
		if text == None {
			a.none = true
			continue
		}
		faults.Check(validType(text), at+"content_types["+strconv.Itoa(i)+"]", `%q is neither "none" nor a media type such as "application/json" or "*/*+json"`, text)
		a.types = append(a.types, strings.ToLower(text))
	}
	for i, text := range codings {
		faults.Check(slices.Contains(Codings, text), at+"content_encodings["+strconv.Itoa(i)+"]", "%q is none of %s", text, strings.Join(Codings, ", "))
	}
	return a
}

// validType reports whether text is type/subtype in the characters of RFC 6838, section
// 4.2, or stars.
func validType(text string) bool {
	kind, subtype, ok := strings.Cut(text, "/")
	odd := func(r rune) bool {
		return (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') && !strings.ContainsRune("!#$&-^_.+*", r)
	}
	return ok && kind != "" && subtype != "" && len(text) <= maxTypeBytes && !strings.ContainsFunc(kind+subtype, odd)
}

// Check returns whether a body is packed by gzip, and why it is refused, "" when it is not.
func (a *Accepts) Check(contentType []byte, encodings [][]byte) (packed bool, fault string) {
	packed, known := codings(encodings)
	kind, parameters, _ := bytes.Cut(contentType, []byte(";"))
	switch {
	case !a.takes(bytes.TrimSpace(kind)):
		return packed, a.badType
	case !utf8Charset(parameters):
		return packed, "the charset must be utf-8 or us-ascii: JSON is exchanged in UTF-8 (RFC 8259, section 8.1)"
	case !known || packed && !a.gzip || !packed && !a.plain:
		return packed, a.badEncoding
	}
	return packed, ""
}

func (a *Accepts) takes(kind []byte) bool {
	if len(kind) == 0 {
		return a.none
	}
	var memory [maxTypeBytes]byte
	if len(kind) > len(memory) {
		return false
	}
	lower := memory[:len(kind)]
	for i, c := range kind {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	suffixed := bytes.IndexByte(lower, '+') >= 0
	for _, pattern := range a.types {
		if string(lower) == pattern {
			return true
		}
		if suffixed && pattern != "*/*" && strings.IndexByte(pattern, '+') < 0 {
			continue
		}
		if ok, err := path.Match(pattern, string(lower)); ok && err == nil {
			return true
		}
	}
	return false
}

// utf8Charset reports whether the charset among the parameters of a media type (RFC 9110,
// section 8.3.1) is UTF-8 or contained in it, by the names that senders use; without one
// it is.
func utf8Charset(parameters []byte) bool {
	for len(parameters) > 0 {
		var one []byte
		one, parameters, _ = bytes.Cut(parameters, []byte(";"))
		name, value, _ := bytes.Cut(one, []byte("="))
		if !framing.EqualFold(bytes.TrimSpace(name), "charset") {
			continue
		}
		value = bytes.Trim(bytes.TrimSpace(value), `"'`)
		if !framing.EqualFold(value, "utf-8") && !framing.EqualFold(value, "utf8") && !framing.EqualFold(value, "us-ascii") && !framing.EqualFold(value, "ascii") {
			return false
		}
	}
	return true
}

// Packed reports whether content-encodings name any coding, whether it is known or not.
func Packed(encodings [][]byte) bool {
	packed, known := codings(encodings)
	return packed || !known
}

// codings reads content-encodings (RFC 9110, section 8.4): known is false for others than
// gzip, once at most.
func codings(encodings [][]byte) (packed, known bool) {
	for _, list := range encodings {
		for len(list) > 0 {
			var one []byte
			one, list, _ = bytes.Cut(list, []byte(","))
			one = bytes.TrimSpace(one)
			switch {
			case len(one) == 0 || framing.EqualFold(one, Identity):
			case packed || !framing.EqualFold(one, Gzip) && !framing.EqualFold(one, "x-gzip"):
				return packed, false
			default:
				packed = true
			}
		}
	}
	return packed, true
}
