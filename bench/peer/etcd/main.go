// The peer's load generator. `etcd-load geo ...` is a worker of `dombench geo` (geo.go). Else, for `make bench-throughput`: closed-loop puts against etcd over gRPC with mutual TLS, the same
// shape as `dombench throughput`: N connections, one operation in flight each, the same key and value sizes.
// Built against Debian's packaged clientv3 (golang-etcd-server-dev), GOPATH mode, no network.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io/ioutil"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"
)

type worker struct {
	latencies []time.Duration
	errors    int
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func die(err error) {
	fmt.Fprintln(os.Stderr, "etcd load:", err)
	os.Exit(11)
}

func tlsConfig(ca, cert, key string) *tls.Config {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		die(err)
	}
	pem, err := ioutil.ReadFile(ca)
	if err != nil {
		die(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS13}
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "geo" {
		geo(os.Args[3:])
		return
	}
	endpoints := flag.String("endpoints", "", "comma-separated https endpoints; the first is used most (its leader)")
	ca := flag.String("ca", "", "CA file")
	cert := flag.String("cert", "", "client certificate")
	key := flag.String("key", "", "client key")
	connections := flag.Int("connections", 64, "clients, one put in flight each")
	seconds := flag.Int("seconds", 30, "measured time")
	warmup := flag.Int("warmup", 5, "time before it")
	keys := flag.Int("keys", 100000, "number of keys")
	keySize := flag.Int("key-size", 24, "bytes")
	valueSize := flag.Int("value-size", 128, "bytes")
	out := flag.String("json", "", "write the result here")
	flag.Parse()

	config := tlsConfig(*ca, *cert, *key)
	clients := make([]*clientv3.Client, *connections)
	for i := range clients {
		var err error
		clients[i], err = clientv3.New(clientv3.Config{Endpoints: strings.Split(*endpoints, ","), TLS: config, DialTimeout: 5 * time.Second})
		if err != nil {
			die(err)
		}
		defer clients[i].Close()
	}
	begin := time.Now().Add(time.Duration(*warmup) * time.Second)
	end := begin.Add(time.Duration(*seconds) * time.Second)
	workers := make([]worker, *connections)
	var wait sync.WaitGroup
	for i := range workers {
		wait.Add(1)
		go func(w *worker, client *clientv3.Client, seed int64) {
			defer wait.Done()
			random := rand.New(rand.NewSource(seed))
			value := make([]byte, *valueSize)
			random.Read(value)
			for {
				k := fmt.Sprintf("bench/%0*d", *keySize-6, random.Intn(*keys))
				if *valueSize >= 8 {
					random.Read(value[:8])
				}
				start := time.Now()
				if start.After(end) {
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				_, err := client.Put(ctx, k, string(value))
				cancel()
				done := time.Now()
				if done.Before(begin) || done.After(end) {
					continue
				}
				if err != nil {
					w.errors++
				} else {
					w.latencies = append(w.latencies, done.Sub(start))
				}
			}
		}(&workers[i], clients[i], int64(i+1))
	}
	time.Sleep(time.Until(begin))
	cpu := cpuSeconds()
	time.Sleep(time.Until(end))
	cpu = (cpuSeconds() - cpu) / float64(*seconds)
	wait.Wait()

	var all []time.Duration
	errors := 0
	for _, w := range workers {
		all = append(all, w.latencies...)
		errors += w.errors
	}
	sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
	at := func(q float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return float64(all[int(float64(len(all)-1)*q)].Microseconds()) / 1000
	}
	rate := float64(len(all)) / float64(*seconds)
	fmt.Printf("%.0f op/s   errors %d   generator CPU %.0f %% of a core\nput    p50 %.2f  p99 %.2f  max %.2f ms\n", rate, errors, cpu*100, at(0.5), at(0.99), at(1))
	if *out != "" {
		text, _ := json.Marshal(map[string]interface{}{"ops_per_second": rate, "errors": errors, "generator_cpu": cpu,
			"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1)})
		if err := ioutil.WriteFile(*out, text, 0o644); err != nil {
			die(err)
		}
	}
}
