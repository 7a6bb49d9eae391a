package signature

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"github.com/fincart/courier-gateway/ingest/signature/values"
)

const (
	// maxSignatures bounds the signatures of one request. By HMAC each costs a comparison.
	maxSignatures = 64
	// maxVerifications bounds those that each cost a verification by every public key.
	maxVerifications = 8
	// maxSignatureBytes bounds the text of one: RSA with 8192 bits, in hex.
	maxSignatureBytes = 2048
)

// readAlgorithm finds the algorithm that the request names. When the sender may
// use only one, it need not name it.
func (in *input) readAlgorithm() *Failure {
	s := in.scheme
	if len(s.algorithms) > 0 {
		in.algorithm = s.algorithms[0]
	}
	if s.config.AlgorithmHeader == "" {
		return nil
	}
	name, fail := s.algorithm.read(in)
	if fail != nil {
		if fail.Kind == Missing && len(s.algorithms) == 1 {
			return nil
		}
		return fail
	}
	for _, a := range s.algorithms {
		if string(a.name) == string(name) {
			in.algorithm = a
			return nil
		}
	}
	return s.algorithm.refused
}

// readKeyID finds the name of the key that signed.
func (in *input) readKeyID() (fail *Failure) {
	s := in.scheme
	if s.config.KeyIDHeader != "" {
		in.keyID, fail = s.keyID.read(in)
	}
	return fail
}

// readSignature finds the signatures and decodes them. Of several, one that can
// be read is enough.
func (in *input) readSignature() *Failure {
	s := in.scheme
	text, fail := s.signature.read(in)
	if fail != nil {
		return fail
	}
	var found int
	switch s.config.Signature.Format {
	case "fields":
		if found, fail = in.readFields(text); fail != nil {
			return fail
		}
	case "tagged":
		found = in.readTagged(text)
	default:
		value, ok := s.config.Signature.cutPrefix(text)
		if !ok {
			return s.noPrefix
		}
		found = 1
		in.decode(0, value)
	}
	switch {
	case found == 0:
		return s.noField
	case found > maxSignatures || s.Costly() && in.verifications() > maxVerifications:
		return s.tooMany
	case len(in.given) == 0:
		return s.signature.refused
	default:
		return nil
	}
}

// verifications returns how many of the signatures are such as public keys verify.
func (in *input) verifications() (n int) {
	for _, g := range in.given {
		if in.scheme.family.keys != pairKeys || g.field == pairedField {
			n++
		}
	}
	return n
}

// cutPrefix returns the value behind the prefix.
func (p *Place) cutPrefix(text []byte) (value []byte, ok bool) {
	if len(text) >= len(p.Prefix) && string(text[:len(p.Prefix)]) == p.Prefix {
		return text[len(p.Prefix):], true
	}
	return text, p.PrefixOptional
}

// readFields reads "t=1772107200,v1=ab,v1=cd" and returns how many signatures
// there are.
func (in *input) readFields(text []byte) (found int, fail *Failure) {
	s := in.scheme
	times := 0
	for item := range bytes.SplitSeq(text, s.separator) {
		name, value, _ := bytes.Cut(bytes.Trim(item, " \t"), equals)
		if s.timestamp.from == "field" && string(name) == s.timestamp.names[0] {
			in.timestamp = value
			times++
		} else if i := s.config.Signature.field(name); i >= 0 {
			if found++; found <= maxSignatures {
				in.decode(i, value)
			}
		}
	}
	switch {
	case times > 1:
		return found, s.timestamp.doubled
	case s.timestamp.from == "field" && len(in.timestamp) == 0:
		return found, s.timestamp.missing
	default:
		return found, nil
	}
}

// readTagged reads "v1,ab v2,cd" and returns how many signatures there are.
func (in *input) readTagged(text []byte) (found int) {
	for item := range bytes.SplitSeq(text, blank) {
		name, value, _ := bytes.Cut(item, comma)
		if i := in.scheme.config.Signature.field(name); i >= 0 {
			if found++; found <= maxSignatures {
				in.decode(i, value)
			}
		}
	}
	return found
}

var blank, comma, equals = []byte(" "), []byte(","), []byte("=")

// field returns the index of the field of signatures that has this name, or -1.
func (p *Place) field(name []byte) int {
	return slices.IndexFunc(p.Fields, func(f string) bool { return f == string(name) })
}

// decode decodes a signature: by the encoding that leads to its length, or, when
// that is not known, by every one that can.
func (in *input) decode(field int, text []byte) {
	s := in.scheme
	if len(text) == 0 || len(text) > maxSignatureBytes {
		return
	}
	size := in.signatureSize(field)
	for i := range s.codecs {
		start := len(in.decoded)
		out, ok := s.codecs[i].appendDecoded(in.decoded, text)
		in.decoded = out[:start]
		if !ok || size != 0 && len(out)-start != size {
			continue
		}
		in.decoded = out
		in.given = append(in.given, given{field, out[start:len(out):len(out)]})
		if size != 0 {
			return
		}
	}
}

// signatureSize returns the length of a signature in bytes, 0 when it depends on
// the key.
func (in *input) signatureSize(field int) int {
	s := in.scheme
	switch {
	case s.family.keys == rsaKeys:
		return 0
	case s.family.keys == edKeys || s.family.keys == pairKeys && field == pairedField:
		return ed25519.SignatureSize
	default:
		return in.algorithm.hash.Size()
	}
}

// readTimestamp finds the timestamp and checks that it lies within the tolerance.
func (in *input) readTimestamp() *Failure {
	s := in.scheme
	if s.timestamp.from == "none" {
		return nil
	}
	if s.timestamp.from != "field" { // or the signature's fields have brought it
		var fail *Failure
		if in.timestamp, fail = s.timestamp.read(in); fail != nil {
			return fail
		}
	}
	at, ok := values.ParseTime(s.config.Timestamp.Unit, in.timestamp)
	if !ok {
		return s.timestamp.refused
	}
	switch age := in.now.Sub(at); {
	case age > s.config.TolerancePast:
		return s.tooOld
	case age < -s.config.ToleranceFuture:
		return s.tooNew
	default:
		return nil
	}
}
