// Counter-based random numbers, bit for bit those of fastnet/nn/random.py.

struct Words {
    unsigned lane[4];
};

// Philox4x32-10 (Salmon et al., SC 2011): four words for one counter.
__device__ Words philox(unsigned block, unsigned step, unsigned stream, unsigned purpose,
                        unsigned long long seed)
{
    Words c = {{block, step, stream, purpose}};
    unsigned k0 = unsigned(seed), k1 = unsigned(seed >> 32);
    for (int round = 0; round < abi::PHILOX_ROUNDS; ++round) {
        const unsigned long long p0 = (unsigned long long)(abi::PHILOX_M0) * c.lane[0];
        const unsigned long long p1 = (unsigned long long)(abi::PHILOX_M1) * c.lane[2];
        c.lane[0] = unsigned(p1 >> 32) ^ c.lane[1] ^ k0;
        c.lane[1] = unsigned(p1);
        c.lane[2] = unsigned(p0 >> 32) ^ c.lane[3] ^ k1;
        c.lane[3] = unsigned(p0);
        k0 += unsigned(abi::PHILOX_W0);
        k1 += unsigned(abi::PHILOX_W1);
    }
    return c;
}

struct FeistelKeys {
    unsigned round[abi::FEISTEL_ROUNDS];
};

// The round keys of one epoch's permutation.
__device__ FeistelKeys feistel_keys(unsigned long long seed, unsigned epoch, unsigned purpose)
{
    FeistelKeys keys;
    for (unsigned block = 0; block < abi::FEISTEL_ROUNDS / 4; ++block) {
        const Words words = philox(block, epoch, 0, purpose, seed);
        for (unsigned lane = 0; lane < 4; ++lane)
            keys.round[4 * block + lane] = words.lane[lane];
    }
    return keys;
}

// A bijection of [0, 2**bits); the halves swap their roles and widths in each round.
__device__ unsigned feistel(unsigned value, unsigned bits, const FeistelKeys& keys)
{
    const unsigned low_bits = bits / 2;
    unsigned low_mask = (1u << low_bits) - 1, high_mask = (1u << (bits - low_bits)) - 1;
    unsigned low = value & low_mask, high = value >> low_bits;
    for (int round = 0; round < abi::FEISTEL_ROUNDS; ++round) {
        const unsigned long long product =
            (unsigned long long)(low + keys.round[round]) * unsigned(abi::FEISTEL_M0);
        unsigned mixed = unsigned(product >> 32) ^ unsigned(product);
        mixed = (mixed ^ (mixed >> 15)) * unsigned(abi::FEISTEL_M1);
        mixed ^= mixed >> 13;
        const unsigned next = (high ^ mixed) & high_mask;
        high = low;
        low = next;
        const unsigned mask = low_mask;
        low_mask = high_mask;
        high_mask = mask;
    }
    return (high << low_bits) | low;
}

// Row number `position` in an epoch's order of `count` rows: the bijection applied again while its
// value is not below `count` (cycle walking).
__device__ unsigned shuffled(unsigned position, integer count, unsigned bits,
                             const FeistelKeys& keys)
{
    unsigned value = feistel(position, bits, keys);
    while (value >= count)
        value = feistel(value, bits, keys);
    return value;
}
