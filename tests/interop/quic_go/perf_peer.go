// perf_peer speaks the QUIC perf protocol (ALPN perf) by quic-go, at either end, for riffle's interoperability tests.
//
//	perf_peer server --listen 127.0.0.1:0
//	perf_peer client --connect ADDR:PORT --mode download|upload|rps --bytes N --streams S
//	                 --requests R --req-bytes N --resp-bytes N --concurrency C
//
// On each bidirectional stream the client sends 8 bytes big-endian (how many bytes it wants back), then its upload,
// then fin; the server reads to the fin and sends that many bytes and fin. Both print one JSON object of what they
// counted: streams, received (less the headers) and sent. The client ends with 1 when a count is not what it asked for.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
)

var config = &quic.Config{
	InitialStreamReceiveWindow:     1 << 20,
	MaxStreamReceiveWindow:         1 << 20,
	InitialConnectionReceiveWindow: 16 << 20,
	MaxConnectionReceiveWindow:     16 << 20,
	MaxIncomingStreams:             1024,
}

type counts struct {
	streams, received, sent atomic.Int64
	mutex                   sync.Mutex
	failed                  string
}

func (c *counts) fail(text string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.failed == "" {
		c.failed = text
	}
}

func (c *counts) print() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"streams": c.streams.Load(), "received": c.received.Load(), "sent": c.sent.Load(), "failed": c.failed,
	})
}

// send writes length bytes of payload to the stream.
func send(stream io.Writer, length uint64) error {
	block := make([]byte, 64*1024)
	for i := range block {
		block[i] = byte(i % 251)
	}
	for length > 0 {
		n := min(length, uint64(len(block)))
		if _, err := stream.Write(block[:n]); err != nil {
			return err
		}
		length -= n
	}
	return nil
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func answer(stream *quic.Stream, c *counts) error {
	var header [8]byte
	if _, err := io.ReadFull(stream, header[:]); err != nil {
		return fmt.Errorf("a stream ended inside its header: %w", err)
	}
	received, err := io.Copy(io.Discard, stream)
	c.received.Add(received)
	if err != nil {
		return err
	}
	wanted := binary.BigEndian.Uint64(header[:])
	c.streams.Add(1)
	c.sent.Add(int64(wanted))
	if err := send(stream, wanted); err != nil {
		return err
	}
	return stream.Close()
}

func serve(address string) error {
	cert, err := certificate()
	if err != nil {
		return err
	}
	listener, err := quic.ListenAddr(address, &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"perf"},
	}, config)
	if err != nil {
		return err
	}
	fmt.Println("listening", listener.Addr())
	c := &counts{}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	for {
		conn, err := listener.Accept(stop)
		if err != nil {
			break
		}
		go func() {
			for {
				stream, err := conn.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go func() {
					if err := answer(stream, c); err != nil {
						c.fail(err.Error())
					}
				}()
			}
		}()
	}
	c.print()
	if c.failed != "" {
		return fmt.Errorf("%s", c.failed)
	}
	return nil
}

type exchange struct{ up, down uint64 }

func run(conn *quic.Conn, what exchange, c *counts) error {
	stream, err := conn.OpenStreamSync(context.Background())
	if err != nil {
		return err
	}
	var header [8]byte
	binary.BigEndian.PutUint64(header[:], what.down)
	if _, err := stream.Write(header[:]); err != nil {
		return err
	}
	if err := send(stream, what.up); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	c.sent.Add(int64(what.up))
	received, err := io.Copy(io.Discard, stream)
	c.received.Add(received)
	c.streams.Add(1)
	if err == nil && uint64(received) != what.down {
		err = fmt.Errorf("%d bytes came of %d", received, what.down)
	}
	return err
}

func connect(address string, todo []exchange, atOnce int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// The server has made its certificate just now: there is nothing to verify it by.
	conn, err := quic.DialAddr(ctx, address, &tls.Config{
		InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"perf"},
	}, config)
	if err != nil {
		return err
	}
	c := &counts{}
	queue := make(chan exchange, len(todo))
	for _, what := range todo {
		queue <- what
	}
	close(queue)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for what := range queue {
				if err := run(conn, what, c); err != nil {
					c.fail(err.Error())
					return
				}
			}
		})
	}
	workers.Wait()
	_ = conn.CloseWithError(0, "")
	c.print()
	if c.failed != "" {
		return fmt.Errorf("%s", c.failed)
	}
	return nil
}

func client(words []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	address := flags.String("connect", "", "ADDR:PORT")
	mode := flags.String("mode", "", "download, upload or rps")
	size := flags.Uint64("bytes", 1<<20, "of all streams together")
	streams := flags.Uint64("streams", 1, "in the bulk modes")
	requests := flags.Int("requests", 100, "in all")
	requestBytes := flags.Uint64("req-bytes", 512, "after the header")
	responseBytes := flags.Uint64("resp-bytes", 512, "of each answer")
	concurrency := flags.Int("concurrency", 16, "requests at once")
	if err := flags.Parse(words); err != nil {
		return err
	}
	var todo []exchange
	if *mode == "rps" {
		for range *requests {
			todo = append(todo, exchange{*requestBytes, *responseBytes})
		}
		return connect(*address, todo, *concurrency)
	}
	for i := range *streams {
		share := *size / *streams
		if i < *size%*streams {
			share++
		}
		if *mode == "upload" {
			todo = append(todo, exchange{up: share})
		} else {
			todo = append(todo, exchange{down: share})
		}
	}
	return connect(*address, todo, len(todo))
}

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "server" && os.Args[2] == "--listen":
		err = serve(os.Args[3])
	case len(os.Args) > 2 && os.Args[1] == "client":
		err = client(os.Args[2:])
	default:
		err = fmt.Errorf("server --listen ADDR:PORT, or client --connect ADDR:PORT --mode download|upload|rps")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "perf_peer:", err)
		os.Exit(1)
	}
}
