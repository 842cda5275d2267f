// The clients of one region against etcd, as a worker of `dombench geo` (bench/geo.h says what it writes): open loop,
// puts and linearizable gets at the region's own member, latency from the planned time.
//
//	etcd-load geo MAP --worker REGION --out DIR ...
//
// DOMBENCH_REGIONS lists the map's regions. Endpoint and certificates are etcdctl's variables, as bench/wan/with-etcd sets
// them; the other members, for the round trips, are at WANLAB_NODES_<REGION>.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/ioutil"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/clientv3"
	"golang.org/x/sys/unix"
)

const (
	classPut, classStrong             = 0, 1
	statusOK, statusNotFound          = 0, 1
	statusUnknown, statusTimedOut     = 6, 7
	regionNotTold, valueDigits, pings = 16, 16, 11
)

type record struct {
	class, status, fill           int
	key, value, version           uint64
	plannedNs, sentNs, answeredNs int64
}

type geoWorker struct {
	region, out                                          string
	index                                                int
	regions                                              []string
	rate, connections, seconds, warmup, keys, valueBytes int
	seed, putPercent                                     int
	timeout                                              time.Duration
	prefix                                               string
	clients                                              []*clientv3.Client
	value                                                []byte
	lock                                                 sync.Mutex // of what follows
	records                                              []record
	values                                               uint64
}

// CLOCK_BOOTTIME, which all processes of the machine share.
func bootNs() int64 {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &at); err != nil {
		die(err)
	}
	return at.Nano()
}

func suffixOf(region string) string { return strings.ToUpper(strings.ReplaceAll(region, "-", "_")) }

func geoFlags(arguments []string) *geoWorker {
	w := &geoWorker{}
	set := flag.NewFlagSet("geo", flag.ExitOnError)
	set.StringVar(&w.region, "worker", "", "the region")
	set.StringVar(&w.out, "out", "", "directory of results")
	set.StringVar(&w.prefix, "prefix", "geo/", "of every key")
	set.IntVar(&w.rate, "rate", 50, "operations a second")
	set.IntVar(&w.connections, "connections", 4, "clients")
	set.IntVar(&w.seconds, "seconds", 60, "measured time")
	set.IntVar(&w.warmup, "warmup", 15, "time before it")
	set.IntVar(&w.keys, "keys", 400, "number of keys")
	set.IntVar(&w.valueBytes, "value-size", 128, "bytes")
	set.IntVar(&w.seed, "seed", 42, "of keys and mix")
	set.DurationVar(&w.timeout, "timeout", 10*time.Second, "of an operation")
	mix := set.String("mix", "put=50,strong=50", "percents of put and strong")
	filled := set.Bool("filled", false, "the keys are there")
	for _, name := range []string{"as-region", "endpoint", "certs", "workload", "depth", "users", "staleness"} {
		set.String(name, "", "of other workers")
	}
	if err := set.Parse(arguments); err != nil {
		die(err)
	}
	for _, share := range strings.Split(*mix, ",") {
		pair := strings.SplitN(share, "=", 2)
		if len(pair) != 2 || (pair[0] != "put" && pair[0] != "strong") {
			die(fmt.Errorf("etcd has puts and strong gets only: %s", *mix))
		}
		if pair[0] == "put" {
			w.putPercent, _ = strconv.Atoi(pair[1])
		}
	}
	w.regions = strings.Fields(os.Getenv("DOMBENCH_REGIONS"))
	for w.index < len(w.regions) && w.regions[w.index] != w.region {
		w.index++
	}
	if w.index == len(w.regions) {
		die(fmt.Errorf("DOMBENCH_REGIONS does not name %s", w.region))
	}
	if *filled {
		die(fmt.Errorf("--filled is not for etcd"))
	}
	w.value = make([]byte, w.valueBytes)
	rand.New(rand.NewSource(int64(w.seed))).Read(w.value)
	return w
}

// One operation, from its planned time; waits for its end.
func (w *geoWorker) operate(client *clientv3.Client, class, fill int, key uint64, plannedNs int64) {
	ctx, cancel := context.WithTimeout(context.Background(), w.timeout)
	defer cancel()
	r := record{class: class, fill: fill, key: key, plannedNs: plannedNs, sentNs: bootNs()}
	name := fmt.Sprintf("%sk%08d", w.prefix, key)
	var err error
	if class == classPut {
		w.lock.Lock()
		w.values++
		r.value = uint64(w.index+1)<<40 | w.values
		w.lock.Unlock()
		value := append([]byte(fmt.Sprintf("%016x", r.value)), w.value[valueDigits:]...)
		var answer *clientv3.PutResponse
		if answer, err = client.Put(ctx, name, string(value)); err == nil {
			r.version = uint64(answer.Header.Revision)
		}
	} else {
		var answer *clientv3.GetResponse
		if answer, err = client.Get(ctx, name); err == nil && len(answer.Kvs) == 0 {
			r.status = statusNotFound
		} else if err == nil {
			r.version = uint64(answer.Kvs[0].ModRevision)
			if r.value, err = strconv.ParseUint(string(answer.Kvs[0].Value[:valueDigits]), 16, 64); err != nil {
				die(err)
			}
		}
	}
	r.answeredNs = bootNs()
	if err != nil && class == classPut {
		r.status = statusUnknown
	} else if err != nil {
		r.status = statusTimedOut
	}
	w.lock.Lock()
	w.records = append(w.records, r)
	w.lock.Unlock()
}

func (w *geoWorker) fill() {
	var wait sync.WaitGroup
	for lane := 0; lane < 64; lane++ {
		wait.Add(1)
		go func(lane int) {
			defer wait.Done()
			for key := w.index + lane*len(w.regions); key < w.keys; key += 64 * len(w.regions) {
				w.operate(w.clients[lane%len(w.clients)], classPut, 1, uint64(key), bootNs())
			}
		}(lane)
	}
	wait.Wait()
}

// Open loop: each operation starts at its planned time, whatever became of those before.
func (w *geoWorker) load(startNs int64) {
	var wait sync.WaitGroup
	random := rand.New(rand.NewSource(int64(w.seed*16 + w.index)))
	gap := int64(time.Second) / int64(w.rate)
	end := startNs + int64(w.warmup+w.seconds)*int64(time.Second)
	for planned, i := startNs, 0; planned < end; planned, i = planned+gap, i+1 {
		key, class := uint64(random.Intn(w.keys)), classStrong
		if random.Intn(100) < w.putPercent {
			class = classPut
		}
		time.Sleep(time.Duration(planned - bootNs()))
		wait.Add(1)
		go func(client *clientv3.Client, planned int64) {
			defer wait.Done()
			w.operate(client, class, 0, key, planned)
		}(w.clients[i%len(w.clients)], planned)
	}
	wait.Wait()
}

// A TCP handshake is one round trip.
func (w *geoWorker) measureRtt(when string) {
	file, err := os.OpenFile(filepath.Join(w.out, w.region, "rtt.tsv"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		die(err)
	}
	defer file.Close()
	for _, region := range w.regions {
		nodes := strings.Fields(os.Getenv("WANLAB_NODES_" + suffixOf(region)))
		var samples []int64
		for i := 0; i < pings && len(nodes) > 0; i++ {
			begin := time.Now()
			connection, err := net.DialTimeout("tcp", nodes[0]+":2379", 5*time.Second)
			if err != nil {
				continue
			}
			samples = append(samples, time.Since(begin).Microseconds())
			connection.Close()
		}
		if len(samples) == 0 {
			continue
		}
		sort.Slice(samples, func(a, b int) bool { return samples[a] < samples[b] })
		fmt.Fprintf(file, "%s\t%s\t%d\t%d\t%d\n", when, region, samples[0], samples[len(samples)/2], samples[len(samples)-1])
	}
}

func writeJSON(path string, value interface{}) {
	text, err := json.MarshalIndent(value, "", " ")
	if err == nil {
		err = ioutil.WriteFile(path, text, 0o644)
	}
	if err != nil {
		die(err)
	}
}

func (w *geoWorker) writeRecords() {
	file, err := os.Create(filepath.Join(w.out, w.region, "records.tsv"))
	if err != nil {
		die(err)
	}
	sort.Slice(w.records, func(a, b int) bool { return w.records[a].answeredNs < w.records[b].answeredNs })
	out := bufio.NewWriter(file)
	fmt.Fprintln(out, "#class\tstatus\tserved\tfill\tsession\tstaleness_ms\tkey\tvalue\tversion\tplanned_ns\tsent_ns\tdone_ns")
	for _, r := range w.records {
		fmt.Fprintf(out, "%d\t%d\t%d\t%d\t0\t0\t%d\t%d\t%d\t%d\t%d\t%d\n", r.class, r.status, regionNotTold, r.fill, r.key, r.value,
			r.version, r.plannedNs, r.sentNs, r.answeredNs)
	}
	if err := out.Flush(); err != nil {
		die(err)
	}
	if err := file.Close(); err != nil {
		die(err)
	}
}

// The region of the leader, as this region's member sees it; members are named by their regions.
func (w *geoWorker) leader() string {
	ctx, cancel := context.WithTimeout(context.Background(), w.timeout)
	defer cancel()
	members, err := w.clients[0].MemberList(ctx)
	if err != nil {
		return ""
	}
	status, err := w.clients[0].Status(ctx, w.clients[0].Endpoints()[0])
	if err != nil {
		return ""
	}
	for _, member := range members.Members {
		if member.ID == status.Leader {
			return member.Name
		}
	}
	return ""
}

// As the C engine judges: good answers to what was planned in the measured time, by half a second after its end.
func (w *geoWorker) report(startNs int64, cpu float64, leaders [2]string) {
	begin := startNs + int64(w.warmup)*int64(time.Second)
	end := begin + int64(w.seconds)*int64(time.Second)
	planned, good := 0, 0
	for _, r := range w.records {
		if r.fill == 1 || r.plannedNs < begin || r.plannedNs >= end {
			continue
		}
		planned++
		if r.status <= statusNotFound && r.answeredNs < end+int64(time.Second)/2 {
			good++
		}
	}
	writeJSON(filepath.Join(w.out, w.region, "worker.json"), map[string]interface{}{
		"kind": "GeoWorker", "v": 1, "region": w.region, "planned": planned, "unsent": 0, "generator_cpu": cpu,
		"saturated": float64(good)+1 < 0.99*float64(planned), "suspect": cpu > 0.7, "unsupported": map[string]string{},
		"leader_before": leaders[0], "leader_after": leaders[1], "begin_ns": begin, "end_ns": end})
}

func geo(arguments []string) {
	w := geoFlags(arguments)
	endpoint := os.Getenv("ETCDCTL_ENDPOINTS")
	config := tlsConfig(os.Getenv("ETCDCTL_CACERT"), os.Getenv("ETCDCTL_CERT"), os.Getenv("ETCDCTL_KEY"))
	for i := 0; i < w.connections; i++ {
		client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(endpoint, ","), TLS: config, DialTimeout: 5 * time.Second})
		if err != nil {
			die(err)
		}
		defer client.Close()
		w.clients = append(w.clients, client)
	}
	writeJSON(filepath.Join(w.out, w.region, "map.json"), map[string]interface{}{"policy": "all regions", "reads": "leader", "voters": w.regions})
	w.fill()
	w.measureRtt("before")
	leaders := [2]string{w.leader()}
	fmt.Println("ready")
	var startNs int64
	if _, err := fmt.Scanf("go %d\n", &startNs); err != nil {
		die(fmt.Errorf("nobody said go: %v", err))
	}
	go func() { // the CPU of the measured time only
		time.Sleep(time.Duration(startNs + int64(w.warmup)*int64(time.Second) - bootNs()))
		cpuAtBegin <- cpuSeconds()
	}()
	w.load(startNs)
	cpu := (cpuSeconds() - <-cpuAtBegin) / float64(w.seconds)
	w.measureRtt("after")
	leaders[1] = w.leader()
	w.report(startNs, cpu, leaders)
	w.writeRecords()
}

var cpuAtBegin = make(chan float64, 1)
