package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/fleetune/fleetune/worker/load/metrics"
)

// classify tells kinds of failures apart. Cause is why the request's context
// ended, if it did; started says that a reply had begun.
func classify(cause, err error, started bool) *metrics.Error {
	e := &metrics.Error{Message: err.Error()}
	switch {
	case errors.Is(cause, errCancelled):
		e.Class, e.Code, e.Message = metrics.ErrCancelled, 499, cause.Error()
	case errors.Is(cause, errRequestTimeout):
		e.Class, e.Message = metrics.ErrTimeout, cause.Error()
	case errors.Is(cause, errIdleTimeout):
		e.Class, e.Message = metrics.ErrIdle, cause.Error()
	case errors.Is(cause, ErrRunEnded):
		e.Class, e.Message = metrics.ErrRunEnded, cause.Error()
	case errors.Is(cause, ErrStopped), errors.Is(cause, context.Canceled), errors.Is(cause, context.DeadlineExceeded):
		e.Class, e.Message = metrics.ErrStopped, ErrStopped.Error()
	default:
		e.Class = network(err, started)
	}
	return e
}

func network(err error, started bool) metrics.Class {
	var dns *net.DNSError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return metrics.ErrDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return metrics.ErrRefused
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &alert), errors.As(err, &record),
		strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return metrics.ErrTLS
	case errors.As(err, &op) && op.Op == "dial":
		return metrics.ErrConnect
	case started && errors.Is(err, io.ErrUnexpectedEOF):
		return metrics.ErrTruncated
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed idle connection"):
		return metrics.ErrReset
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "invalid"):
		return metrics.ErrMalformed
	}
	return metrics.ErrReset
}
