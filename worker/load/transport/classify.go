package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"syscall"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// classify tells kinds of failures apart. Cause is why the request's context
// ended, if it did; started says that a reply had begun, kept that the
// connection had served a request before.
func classify(cause, err error, started, kept bool) *metrics.Error {
	e := &metrics.Error{Message: err.Error()}
	var limit *limitError
	switch {
	case errors.Is(cause, errCancelled):
		e.Class, e.Code, e.Message = metrics.ErrCancelled, 499, cause.Error()
	case errors.As(cause, &limit):
		e.Class, e.Message = limit.class, limit.Error()
	case errors.Is(cause, ErrRunEnded):
		e.Class, e.Message = metrics.ErrRunEnded, cause.Error()
	case errors.Is(cause, ErrStopped), errors.Is(cause, context.Canceled), errors.Is(cause, context.DeadlineExceeded):
		e.Class, e.Message = metrics.ErrStopped, ErrStopped.Error()
	default:
		if e.Class = network(err, started); e.Class == metrics.ErrReset && kept && !started {
			e.Class = metrics.ErrStale
		}
	}
	return e
}

func network(err error, started bool) metrics.Class {
	var dns *net.DNSError
	var op *net.OpError
	errors.As(err, &op)
	switch {
	case errors.As(err, &dns):
		return metrics.ErrDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return metrics.ErrRefused
	case op != nil && op.Op == "dial" && op.Timeout():
		return metrics.ErrConnectTimeout
	case op != nil && op.Op == "dial":
		return metrics.ErrConnect
	case secure(err, op):
		return metrics.ErrTLS
	case started && errors.Is(err, io.ErrUnexpectedEOF):
		return metrics.ErrTruncated
	case malformed(err):
		return metrics.ErrMalformed
	}
	return metrics.ErrReset
}

// secure says that TLS failed: a certificate, the handshake, or an alert, by
// which a server refuses the client's certificate even after the handshake.
func secure(err error, op *net.OpError) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var timeout interface{ Timeout() bool }
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &alert) || errors.As(err, &record) ||
		errors.Is(err, http.ErrSchemeMismatch) || op != nil && (op.Op == "remote error" || op.Op == "local error") ||
		// The one time-out that net/http has beside the dial's.
		op == nil && errors.As(err, &timeout) && timeout.Timeout()
}

// malformed says that a reply was no HTTP. Package net/http has no type for
// most of what it says then; only its words are left.
func malformed(err error) bool {
	var protocol textproto.ProtocolError
	return errors.As(err, &protocol) || strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), "invalid")
}
