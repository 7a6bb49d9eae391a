package signature

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParsePrivateKey reads a key for [Config.PrivateKey]: PEM of an RSA or ed25519
// key (PKCS#8, or PKCS#1 for RSA), or the whsk_ of Standard Webhooks. Its errors
// do not hold the key.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	text = bytes.TrimSpace(text)
	if encoded, ok := bytes.CutPrefix(text, []byte(privatePrefix)); ok {
		raw, ok := decodeBase64(encoded)
		switch {
		case ok && len(raw) == ed25519.SeedSize:
			return ed25519.NewKeyFromSeed(raw), nil
		case ok && len(raw) == ed25519.PrivateKeySize:
			return ed25519.PrivateKey(raw), nil
		default:
			return nil, errors.New("the private key behind whsk_ is not the base64 of 32 or 64 bytes")
		}
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the private key is neither PEM nor does it start with whsk_")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the private key in PEM is neither PKCS#8 nor PKCS#1: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	default:
		return nil, fmt.Errorf("the private key is of type %T, must be RSA or ed25519", key)
	}
}
