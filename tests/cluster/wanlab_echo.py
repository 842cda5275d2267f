"""An echo and a sink for test_wanlab, and who asks them: programs that know nothing of the lab.

serve          answers UDP on port 7700        ask ADDRESS N      N questions at once; prints "K answers" of different ones
flood ADDRESS N  N packets to nobody, as fast as they go
sink           takes TCP on port 7701          pour ADDRESS SIZE  SIZE bytes; prints the seconds until they were taken
"""

import select
import socket
import sys
import time


def serve():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 7700))
        while True:
            data, peer = server.recvfrom(100)
            server.sendto(data, peer)


def ask(address, count):
    answers = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((address, 7700))
        for number in range(count):
            client.send(b"%d" % number)
        end = time.monotonic() + 1
        while len(answers) < count and (left := end - time.monotonic()) > 0:
            if select.select([client], [], [], left)[0]:
                try:
                    answers.add(client.recv(100))
                except ConnectionRefusedError:
                    break  # nobody is there yet
    print(len(answers), "answers")
    return 0 if answers else 1


def flood(address, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(count):
            client.sendto(b".", (address, 7799))


def sink():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("0.0.0.0", 7701))
        server.listen()
        while True:
            with server.accept()[0] as peer:
                while peer.recv(1 << 16):
                    pass
                peer.send(b".")


def pour(address, size):
    began = time.monotonic()
    with socket.create_connection((address, 7701), timeout=30) as client:
        client.sendall(bytes(size))
        client.shutdown(socket.SHUT_WR)
        if client.recv(1) != b".":
            return 1
    print(f"{time.monotonic() - began:.2f}")
    return 0


if sys.argv[1] == "serve":
    serve()
elif sys.argv[1] == "ask":
    sys.exit(ask(sys.argv[2], int(sys.argv[3])))
elif sys.argv[1] == "flood":
    flood(sys.argv[2], int(sys.argv[3]))
elif sys.argv[1] == "sink":
    sink()
elif sys.argv[1] == "pour":
    sys.exit(pour(sys.argv[2], int(sys.argv[3])))
