package export

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// maxDatagram is the largest message that is sent over UDP: what fits an IPv4 packet.
const maxDatagram = 65507

// syslogSink writes messages of RFC 5424 to one connection: TLS (RFC 5425), or on loopback TCP (RFC 6587) or UDP (RFC 5426).
type syslogSink struct {
	cfg    SyslogConfig
	host   string // of this machine, in messages
	dialer *net.Dialer
	tls    *tls.Config

	conn     *syslogConn
	recently []sentBatch // written on conn less than settleTime ago
}

type sentBatch struct {
	at     time.Time
	frames []byte
}

// syslogConn is a connection with somebody watching for its end: receivers say nothing, so anything read means that it is over.
type syslogConn struct {
	net.Conn
	over atomic.Int64 // when its end was noticed, in nanoseconds since 1970; 0: not yet
}

func newSyslogSink(cfg SyslogConfig) (*syslogSink, error) {
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("reading the receiver's address: %w", err)
	}
	s := &syslogSink{cfg: cfg, host: syslogHost(&cfg), dialer: dialer(host, cfg.Timeout)}
	if cfg.Network == "tls" {
		if s.tls, err = cfg.TLS.config(host); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Send implements Sink. Syslog has no acknowledgement: nil means that the system has taken the bytes. What was written within settleTime
// before a connection broke is written again on the next one.
func (s *syslogSink) Send(ctx context.Context, batch []Message) error {
	if s.cfg.Network == "udp" {
		return s.datagrams(ctx, batch)
	}
	if s.conn != nil && s.conn.over.Load() != 0 {
		s.drop()
	}
	fresh := s.conn == nil
	if fresh {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	var frames, one bytes.Buffer
	for i := range batch {
		one.Reset()
		syslogMessage(&one, &batch[i], &s.cfg, s.host)
		frame(&frames, one.Bytes())
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.cfg.Timeout)); err != nil {
		s.drop()
		return fmt.Errorf("writing to the syslog receiver: %w", err)
	}
	now := time.Now()
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if fresh {
		for _, b := range s.recently {
			if _, err := s.conn.Write(b.frames); err != nil {
				s.drop()
				return fmt.Errorf("writing to the syslog receiver: %w", err)
			}
		}
	}
	if _, err := s.conn.Write(frames.Bytes()); err != nil {
		s.drop()
		return fmt.Errorf("writing to the syslog receiver: %w", err)
	}
	s.recently = slices.DeleteFunc(s.recently, func(b sentBatch) bool { return now.Sub(b.at) > settleTime })
	s.recently = append(s.recently, sentBatch{now, frames.Bytes()})
	for len(s.recently) > 1 && size(s.recently) > 8<<20 {
		s.recently = s.recently[1:]
	}
	return nil
}

func size(batches []sentBatch) (n int) {
	for _, b := range batches {
		n += len(b.frames)
	}
	return n
}

func (s *syslogSink) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	conn, err := s.dialer.DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return fmt.Errorf("connecting to the syslog receiver: %w", err)
	}
	if s.tls != nil {
		secure := tls.Client(conn, s.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
				err = fmt.Errorf("%w: %w", err, errHold)
			}
			return fmt.Errorf("connecting to the syslog receiver: %w", err)
		}
		conn = secure
	}
	s.conn = &syslogConn{Conn: conn}
	go func(c *syslogConn) { // ends when the connection does
		_, _ = c.Read(make([]byte, 1))
		c.over.Store(time.Now().UnixNano())
	}(s.conn)
	return nil
}

// drop closes the connection, and forgets what was written long enough before it ended.
func (s *syslogSink) drop() {
	if s.conn == nil {
		return
	}
	ended := time.Now()
	if over := s.conn.over.Load(); over != 0 {
		ended = time.Unix(0, over)
	}
	s.recently = slices.DeleteFunc(s.recently, func(b sentBatch) bool { return ended.Sub(b.at) > settleTime })
	_ = s.conn.Close()
	s.conn = nil
}

func (s *syslogSink) datagrams(ctx context.Context, batch []Message) error {
	conn, err := s.dialer.DialContext(ctx, "udp", s.cfg.Address)
	if err != nil {
		return fmt.Errorf("connecting to the syslog receiver: %w", err)
	}
	defer conn.Close()
	refused := &Refused{Code: "too_large", Text: fmt.Sprintf("it does not fit a datagram of %d bytes; use tls or tcp", maxDatagram)}
	var one bytes.Buffer
	for i := range batch {
		one.Reset()
		syslogMessage(&one, &batch[i], &s.cfg, s.host)
		if one.Len() > maxDatagram {
			refused.Which = append(refused.Which, i)
			continue
		}
		if _, err := conn.Write(one.Bytes()); err != nil {
			return fmt.Errorf("writing to the syslog receiver: %w", err)
		}
	}
	if len(refused.Which) > 0 {
		return refused
	}
	return nil
}

// Close implements Sink.
func (s *syslogSink) Close() error {
	s.drop()
	return nil
}
