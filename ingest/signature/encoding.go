package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
)

// Encoding names how the bytes of a signature are written.
type Encoding string

// The encodings. Hex is read in either case; base64 with and without padding,
// and with nothing else in it: no line breaks, no stray bits.
const (
	Hex       Encoding = "hex"
	Base64    Encoding = "base64"
	Base64URL Encoding = "base64url"
)

var encodings = []Encoding{Hex, Base64, Base64URL}

// codec is an Encoding, ready to use.
type codec struct {
	name   Encoding
	base64 *base64.Encoding // without padding; nil for hex
}

func newCodec(e Encoding) codec {
	switch e {
	case Base64:
		return codec{e, base64.RawStdEncoding.Strict()}
	case Base64URL:
		return codec{e, base64.RawURLEncoding.Strict()}
	default:
		return codec{name: Hex}
	}
}

// appendDecoded appends what text encodes.
func (c codec) appendDecoded(dst, text []byte) (out []byte, ok bool) {
	var err error
	if c.base64 == nil {
		out, err = hex.AppendDecode(dst, text)
		return out, err == nil
	}
	bare := bytes.TrimRight(text, "=")
	if padding := len(text) - len(bare); padding > 2 || padding > 0 && len(text)%4 != 0 {
		return dst, false
	}
	if bytes.ContainsAny(bare, "\r\n") { // which the decoder would skip
		return dst, false
	}
	out, err = c.base64.AppendDecode(dst, bare)
	return out, err == nil
}

// encode writes b as senders do: hex in lower case, base64 padded, base64url not.
func (c codec) encode(b []byte) string {
	switch c.name {
	case Base64:
		return base64.StdEncoding.EncodeToString(b)
	case Base64URL:
		return base64.RawURLEncoding.EncodeToString(b)
	default:
		return hex.EncodeToString(b)
	}
}
