package bus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// ManagerPassword is the manager's password on a server of Fleetune's own.
func ManagerPassword(secret []byte) string { return derive(secret, "manager") }

// WorkerPassword is the password of the worker of that name on a server of
// Fleetune's own. It opens that worker's subjects only, and does not lead back
// to the secret.
func WorkerPassword(secret []byte, name string) string { return derive(secret, "worker:"+name) }

// derive makes a password by HMAC-SHA256 (RFC 2104), as base64url without
// padding.
func derive(secret []byte, label string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(label))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
