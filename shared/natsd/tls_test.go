package natsd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetune/fleetune/proto/wire"
	"github.com/fleetune/fleetune/shared/bus"
	"github.com/fleetune/fleetune/shared/natsd"
	"github.com/stretchr/testify/require"
)

// certificate makes one that signs itself, for loopback, and the file that
// makes clients trust it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "fleetune"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestTLSIsRequiredWhenSet(t *testing.T) {
	cert, ca := certificate(t)
	s := start(t, natsd.Options{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}})
	o := bus.Options{URL: s.URL(), Name: wire.ManagerName, User: wire.ManagerName, Password: bus.ManagerPassword(secret)}
	_, err := bus.Connect(t.Context(), o)
	require.Error(t, err, "an unknown certificate is not trusted")
	o.TLS.CA = ca
	b, err := bus.Connect(t.Context(), o)
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, bus.Ensure(t.Context(), b.JetStream(), bus.Limits{}))
	state, err := b.Conn().TLSConnectionState()
	require.NoError(t, err)
	require.True(t, state.HandshakeComplete)
}
