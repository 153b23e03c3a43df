"""The row `python`: dictionaries, strings, objects and a sieve."""


class Account:
    def __init__(self, name):
        self.name = name
        self.balance = 0

    def move(self, amount):
        self.balance += amount
        return self.balance


def words(count):
    value = 1
    seen = {}
    for _ in range(count):
        value = (value * 1103515245 + 12345) % 2147483648
        word = "w%d" % (value % 5000)
        seen[word] = seen.get(word, 0) + 1
    return sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:3]


def primes(limit):
    flags = bytearray([1]) * limit
    for n in range(2, limit):
        if flags[n]:
            for multiple in range(n * n, limit, n):
                flags[multiple] = 0
    return sum(flags[2:])


accounts = [Account(str(n)) for n in range(100)]
for n in range(200000):
    accounts[n % 100].move(n & 7)
print(words(120000), primes(300000), sum(a.balance for a in accounts), len(",".join(str(n) for n in range(100000))))
